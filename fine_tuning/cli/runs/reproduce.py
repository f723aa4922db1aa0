"""`runs reproduce`: the command of a run, what here differs, and with --verify the proof."""

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import search
from typing import Annotated

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.runs.compare import named_runs
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.settings.words.program import program_here
from fine_tuning.cli.settings.words.written import words_of
from fine_tuning.disk import hashes
from fine_tuning.engine.gpus import driver_gpus, gpus_are_hidden
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED, UsageError
from fine_tuning.escaping import visible
from fine_tuning.report.compare import Compared
from fine_tuning.run.opening import installed_versions
from fine_tuning.stages.asking.verify import Verified, verdict, verified
from fine_tuning.values.record import RunRecord, result_of

# Places of this run, and a name in Ollama that would be taken over, beside what is no wish.
OF_THE_RUN = frozenset(
    {
        *("output_dir", "export_dir", "gguf_dir", "quantized_dir", "ollama", "system"),
        *("restart", "dry_run", "node_rank"),
    }
)
COMMIT = r"/snapshots/([0-9a-f]{40})"  # of a hub's cache


@dataclass(frozen=True, kw_only=True)
class Here:
    """One thing that a training depends on, as it was and as it is on this machine."""

    name: Annotated[str, "a package, a data file, the base model, the device"]
    then: Annotated[str, "as the run has it"]
    now: Annotated[str, "as it is here"]
    same: Annotated[bool | None, "null: the run has not recorded it"]


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """How a run is made again."""

    command: Annotated[str, "asks for the same, with what was chosen then"]
    typed: Annotated[str, "the last command of the run as it was typed, in a folder of its own"]
    here: Annotated[tuple[Here, ...], "what it depends on, on this machine"]
    verified: Annotated[Verified | None, "with --verify: the first steps, trained again"] = None


def run(job: Resolved) -> Outcome[Reproduced]:
    """Print the command and what differs; with --verify train, and end with 1 if it differs."""
    words: Sequence[str] = job.options["run"] or ()
    steps = job.options["steps"]
    mistakes = []
    if len(words) != 1:
        mistakes.append("`runs reproduce` takes one run: its folder.")
    if steps is not None and steps < 1:
        mistakes.append(f"--steps must be 1 or more, not {steps}.")
    if steps is not None and not job.options["verify"]:
        mistakes.append("--steps says how many steps --verify trains: give both.")
    if mistakes:
        raise UsageError(mistakes)
    (known,) = named_runs(words)
    command = command_of(known)
    here = tuple(here_of(known.record))
    print(visible(f"With what was chosen then:\n{broken(command)}\n"))
    print(visible(f"The last command as it was typed: {known.record.command}\n"))
    for line in lines_of(here):
        print(visible(line))
    verified = verify(known, steps) if job.options["verify"] else None
    made = Reproduced(
        command=shlex.join(command), typed=known.record.command, here=here, verified=verified
    )
    failed = verified is not None and not verified.same
    return Outcome(made, EXIT_FAILED if failed else EXIT_DONE)


def command_of(known: Compared) -> list[str]:
    """The words that ask for the same run beside it: paths are absolute, and what was left to the
    program is said as it was chosen."""
    spec, stages = known.record.settings, known.record.stages
    plan, model = result_of(stages.plan), result_of(stages.model)
    data = result_of(stages.check)
    if plan is not None:
        chosen, engine = plan.chosen, dict(spec.engine_args)
        engine.setdefault("gradient_accumulation_steps", chosen.accumulation)
        revision = search(COMMIT, model.location) if model else None
        if revision:
            engine.setdefault("model_revision", revision.group(1))
        spec = spec.replace(
            stage=plan.rows.stage,
            batch_size=chosen.batch,
            learning_rate=chosen.rate,
            max_seq_length=chosen.cutoff,
            use_cpu=spec.use_cpu or chosen.device_type == "cpu",
            nproc_per_node=spec.nproc_per_node or (chosen.processes if chosen.world > 1 else None),
            engine_args=engine,
        )
    words = words_of(spec, frozenset(known.record.sources), leave_out=OF_THE_RUN)
    commits = (
        {found.group(1) for f in data.files if (found := search(COMMIT, f.path))} if data else ()
    )
    if len(commits) == 1 and spec.data.dataset_revision is None:
        words += ["--dataset_revision", *commits]
    again = str(known.path.with_name(f"{known.path.name}-again"))
    return [*shlex.split(program_here()), "run", *words, "--output_dir", again]


def broken(command: Sequence[str]) -> str:
    """The command with a line for each flag, as a shell reads it."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n".join("    " + " ".join(line) for line in lines)


def here_of(record: RunRecord) -> Iterator[Here]:
    """Versions, data, base model and device, then and now."""
    installed = installed_versions()
    for name, then in record.versions.items():
        now = installed.get(name, "not installed")
        yield Here(name=name, then=then, now=now, same=then == now)
    yield from data_here(record)
    yield from model_here(record)
    yield from device_here(record)


def data_here(record: RunRecord) -> Iterator[Here]:
    """Each data file by its hash."""
    data = result_of(record.stages.check)
    for file in data.files if data else ():
        path = Path(file.path)
        try:
            now = hashes.of(path)
        except OSError as error:
            yield Here(
                name=file.path, then=file.sha256[:12], now=str(error.strerror or error), same=False
            )
            continue
        yield Here(name=file.path, then=file.sha256[:12], now=now[:12], same=now == file.sha256)


def model_here(record: RunRecord) -> Iterator[Here]:
    """The base model by the hashes of its files."""
    model = result_of(record.stages.model)
    if model is None:
        return
    name = f"base model {model.name}"
    folder = Path(model.location)
    if not folder.is_dir():
        yield Here(name=name, then=model.location, now="is not there", same=False)
    elif not model.hashes:
        yield Here(name=name, then="not recorded", now="is there", same=None)
    else:
        now = hashes.of_base_model(folder)
        differ = [it for it in sorted({*now, *model.hashes}) if now.get(it) != model.hashes.get(it)]
        files = f"{len(model.hashes)} files"
        yield Here(
            name=name,
            then=files,
            now=f"other files: {', '.join(differ)}" if differ else files,
            same=not differ,
        )


def device_here(record: RunRecord) -> Iterator[Here]:
    """What was trained on, and what there is; without torch, as the driver says."""
    plan = result_of(record.stages.plan)
    if plan is None:
        return
    then = next((it.value for it in plan.choices if it.name == "device"), plan.chosen.device_type)
    gpus = [] if gpus_are_hidden() else [gpu.partition(",")[0] for gpu in driver_gpus()]
    now = f"{len(gpus)} x {gpus[0]}" if gpus else "CPU"
    on_cpu = plan.chosen.device_type == "cpu"
    same = on_cpu or (len(gpus) >= plan.chosen.processes and gpus[0] in then) if gpus else on_cpu
    yield Here(name="device", then=then, now=now, same=same)


def lines_of(here: Sequence[Here]) -> Iterator[str]:
    """What differs, what is not known, and how much is the same."""
    differ = [it for it in here if it.same is False]
    for it in differ:
        yield f"differs: {it.name}: {it.then} then, {it.now} here"
    for it in here:
        if it.same is None:
            yield f"not known: {it.name}: {it.then}; {it.now} here"
    same = [it for it in here if it.same]
    if not differ:
        yield f"Nothing differs on this machine of {len(same)} things that were compared."
    else:
        yield f"The same: {len(same)} of {len(here)}."


def verify(known: Compared, steps: int | None) -> Verified:
    """Train the first steps again, in a folder that goes if nothing differs."""
    folder = Path(tempfile.mkdtemp(prefix="verify-"))
    with open_screen() as screen:
        found = verified(known.path, known.record, folder=folder, steps=steps, screen=screen)
        for text in found.settings:
            screen.warn(f"this program would now give the engine another setting: {text}")
        for it in found.losses:
            if it.then != it.now:
                screen.say(f"step {it.step}: loss {it.then:.6g} then, {it.now:.6g} now")
        screen.say(verdict(found))
        if not found.same:
            screen.say(
                "Another number of threads, another device or another version gives differences "
                f"of about 1e-7 and grows from there. What was trained is in {folder}."
            )
    if found.same:
        shutil.rmtree(folder, ignore_errors=True)
    return found
