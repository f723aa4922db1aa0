"""`prove`: asks whatever serves a model what the trained one was asked, and says what differs."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fine_tuning.cli.output.logs import log_folder
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.shipping.combining import combining_of
from fine_tuning.cli.shipping.export import without_gpu
from fine_tuning.cli.sources import HEARD
from fine_tuning.disk import files
from fine_tuning.disk.paths import absolute
from fine_tuning.engine.loading import given_adapters
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED, ModelError, UsageError
from fine_tuning.run import finished_run
from fine_tuning.screen import Screen
from fine_tuning.ship.proving.causes import judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.ship.proving.tolerance import format_of
from fine_tuning.stages.asking import chat, contract
from fine_tuning.stages.asking.prove import Asking, replay_adapters
from fine_tuning.values.answers.contract import CONTRACT, Contract, Replay
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.codec import json_text
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.spec import RunSpec

if TYPE_CHECKING:
    from rich.table import Table

TARGETS = ("gguf", "url", "model_name_or_path", "adapter_name_or_path")


@dataclass(frozen=True, kw_only=True)
class Proved:
    """A contract, and how a target compares with it."""

    contract: Annotated[Path, "the file"]
    verdict: Annotated[Verdict | None, "null: with --record, which writes a contract"] = None
    others: Annotated[
        tuple["Proved", ...], "with several adapters: those after the first, each by its contract"
    ] = ()


def run(job: Resolved) -> Outcome[Proved]:
    """Replay the contract, print what is equal and what differs; 1 if it drifts."""
    require_target(job)
    combining_of(job.spec, job.options)  # its mistakes are named before anything is loaded
    end_like_ctrl_c()
    if job.spec.use_cpu:
        job = without_gpu(job)
    with log_folder("prove") as folder, open_screen() as screen:
        log = folder / "engine.log"
        for warning in job.warnings:
            screen.warn(warning)
        if job.options["record"] is not None:
            return Outcome(Proved(contract=recorded(job, log, screen)))
        paths = contract_paths(job)
        wanted = [read_contract(path) for path in paths]
        replays = replayed(job, wanted, log, screen)
    verdicts = [
        judge(asked, replace(replay, dtype=job.options["dtype"] or replay.dtype))
        for asked, replay in zip(wanted, replays, strict=True)
    ]
    for path, asked, verdict in zip(paths, wanted, verdicts, strict=True):
        show(path, asked, verdict)
    if job.options["report"] is not None:
        write_report(job.options["report"], verdicts)
    code = EXIT_DONE if all(it.holds for it in verdicts) else EXIT_FAILED
    first, *others = (Proved(contract=p, verdict=v) for p, v in zip(paths, verdicts, strict=True))
    return Outcome(replace(first, others=tuple(others)), code)


def require_target(job: Resolved) -> None:
    """Raise UsageError unless it is clear what is compared with what."""
    given = {**job.spec.engine_args, **{n: v for n, v in job.options.items() if v is not None}}
    if job.spec.model_name_or_path:
        given["model_name_or_path"] = job.spec.model_name_or_path
    named = [name for name in TARGETS if name in given]
    mistakes = []
    if job.options["record"] is not None:
        if job.spec.output_dir is not None or not {"gguf", "url"}.isdisjoint(named) or not named:
            mistakes.append(
                "--record writes a contract of --model_name_or_path (and --adapter_name_or_path); "
                "a run has one already."
            )
    elif job.spec.output_dir is None and job.options["contract"] is None and not one_by_one(job):
        mistakes.append(
            "Which contract? --output_dir is the folder of a run; --contract is the file that "
            "`prove --record FILE` wrote."
        )
    elif not named and job.spec.output_dir is None:
        mistakes.append(
            "What is compared with it? --model_name_or_path, --adapter_name_or_path, --gguf or "
            "--url."
        )
    if job.options["gguf_adapter"] is not None and "gguf" not in named:
        mistakes.append("--gguf_adapter goes with --gguf, its base model as such a file.")
    if job.options["record"] is not None and one_by_one(job):
        mistakes.append("--record writes one contract: add --combine, or record each adapter.")
    if job.options["contract"] is not None and one_by_one(job):
        mistakes.append(
            "Several adapters are proved each by its own contract: leave --contract out, or add "
            "--combine to ask them as one."
        )
    if len({name.replace("adapter", "model") for name in named}) > 1:
        mistakes.append(f"One target at a time, not {' and '.join(f'--{it}' for it in named)}.")
    mistakes += [
        f"--{name} changes nothing here: leave it out."
        for name in sorted(set(job.spec.engine_args) - set(HEARD))
    ]
    if job.options["dtype"] is not None and not format_of(job.options["dtype"]):
        mistakes.append(
            f"--dtype {job.options['dtype']} is no number format that is known here: float32, "
            "bfloat16, float16, q8_0, q4_k_m, ..."
        )
    if mistakes:
        raise UsageError(mistakes)


def one_by_one(job: Resolved) -> list[Path]:
    """Several adapters that are proved each by its own contract; empty if that is not meant."""
    adapters = given_adapters(with_absolute_paths(job.spec).engine_args)
    combines = bool(job.options["combine"])
    return [] if combines or len(adapters) < 2 else [Path(adapter) for adapter in adapters]


def contract_paths(job: Resolved) -> list[Path]:
    """The file of the contract: that of the run, unless another is named; of several adapters each
    has its own."""
    if adapters := one_by_one(job):
        missing = [path for path in adapters if not (path / CONTRACT).is_file()]
        if missing:
            raise UsageError(
                [f"{path} has no {CONTRACT}, by which it could be proved." for path in missing],
                fix="give the folders of runs; or prove one adapter at a time with --contract FILE",
            )
        return [path / CONTRACT for path in adapters]
    if job.options["contract"] is not None:
        return [Path(job.options["contract"])]
    assert job.spec.output_dir is not None
    folder = absolute(job.spec.output_dir)
    path = folder / CONTRACT
    if not path.is_file() and (folder / "run.json").is_file():
        raise UsageError(
            f"The run in {folder} has no {CONTRACT}.",
            fix="`run` with the same --output_dir writes it, without training again",
        )
    return [path]


def replayed(
    job: Resolved, contracts: Sequence[Contract], log: Path, screen: Screen
) -> Sequence[Replay]:
    """What the targets that the user names make of their contracts."""
    options, spec = job.options, job.spec
    asking = Asking(contract=contracts[0], screen=screen, log=log)
    if options["gguf"] is not None:
        adapter = options["gguf_adapter"]
        return [asking.of_gguf(Path(options["gguf"]), Path(adapter) if adapter else None)]
    if options["url"] is not None:
        return [asking.of_server(options["url"], options["served_model"] or "")]
    if adapters := one_by_one(job):
        named = dict(zip(map(str, adapters), contracts, strict=True))
        with _worker(spec, log) as worker:
            return replay_adapters(spec, named, worker, screen)
    if spec.model_name_or_path or spec.engine_args.get("adapter_name_or_path"):
        with _worker(spec, log) as worker, _together(job, worker) as together:
            return [asking.of_folder(spec, worker, together)]
    assert spec.output_dir is not None
    run_dir, record = finished_run(spec.output_dir)
    with _worker(record.settings.replace(use_cpu=spec.use_cpu), log) as worker:
        return [asking.of_run(chat.of_run(record, run_dir, screen), run_dir, worker)]


def recorded(job: Resolved, log: Path, screen: Screen) -> Path:
    """Write a contract of a model that others trained."""
    target = absolute(job.options["record"])
    with _worker(job.spec, log) as worker, _together(job, worker) as together:
        result = contract.of_named(job.spec, target, screen, worker, together).do(screen)
    if result.reason:
        raise ModelError(f"No contract was written: {result.reason}")
    return target


@contextmanager
def _together(job: Resolved, worker: Worker) -> Iterator[chat.Together | None]:
    """What --combine asks for; the combined adapter is there as long as it is asked."""
    combining = combining_of(job.spec, job.options)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, chat.TOGETHER)
        yield (
            chat.Together(combining=combining, target=target, worker=worker) if combining else None
        )


@contextmanager
def _worker(spec: RunSpec, log: Path) -> Iterator[Worker]:
    with worker_for(spec, log) as worker:
        worker.start()  # its imports overlap with looking for the model
        yield worker


def write_report(path: Path, verdicts: Sequence[Verdict]) -> None:
    """The whole verdict as JSON; of several adapters a list of them."""
    found = verdicts if verdicts[1:] else verdicts[0]
    files.write_text(path, json_text(found, root=Path(os.devnull)))


def show(path: Path, wanted: Contract, verdict: Verdict) -> None:
    """Each conversation, then whether it holds, and why not."""
    from fine_tuning.cli.output.tables import print_table
    from fine_tuning.escaping import visible

    print_table(_table(verdict))
    for one in verdict.conversations:
        for what, difference in (
            ("prompt", one.prompt_difference),
            ("answer", one.answer_difference),
        ):
            if difference is not None:
                print(
                    visible(
                        f"  {one.name}: the {what} differs at {difference.at}: "
                        f"{difference.expected!r} in the contract, {difference.found!r} found"
                    )
                )
    for note in verdict.notes:
        print(visible(f"note: {note}"))
    print(
        f"Tolerance: {verdict.allowed:.2g}, three times what rounding to {verdict.format} moves "
        "this model's log-probabilities (docs/prove.md)"
    )
    for finding in verdict.findings:
        print(visible(f"{finding.cause}: {finding.text}\n  next: {finding.fix}"))
    named = f"{verdict.target} ({verdict.kind})"
    if verdict.holds:
        print(visible(f"PROVED: {named} answers as {path} says"))
    else:
        causes = ", ".join(finding.cause for finding in verdict.findings)
        print(visible(f"DRIFT: {named} does not answer as {path} says: {causes}"))


def _table(verdict: Verdict) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("conversation", "prompt", "answer", "end"):
        table.add_column(name)
    table.add_column("drift", justify="right")
    for one in verdict.conversations:
        drift = "" if one.drift is None else f"{one.drift:.2g}"
        table.add_row(Text(one.name), one.prompt, one.answer, one.stops, drift)
    return table
