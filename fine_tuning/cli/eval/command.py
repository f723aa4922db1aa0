"""`eval`: score models on rows, tell the difference, and how sure it is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fine_tuning.cli.eval.gate import ANSWERS, GENERAL, Line, read_gate
from fine_tuning.cli.eval.judge import RUBRIC, Judge, judged
from fine_tuning.cli.eval.junit import write_junit
from fine_tuning.cli.eval.own import read_metrics
from fine_tuning.cli.eval.tasks import require_harness, task_lines, tasks_found
from fine_tuning.cli.output.logs import log_folder
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.shipping.export import without_gpu
from fine_tuning.cli.sources import source_mistakes
from fine_tuning.disk import files
from fine_tuning.disk.paths import at_home, shown
from fine_tuning.engine.gpus import driver_gpus, gpus_are_hidden
from fine_tuning.engine.process.chatting import Voices
from fine_tuning.engine.process.launch import worker_for
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED, UsageError
from fine_tuning.measures.compare import score_of
from fine_tuning.measures.metrics import Metric
from fine_tuning.measures.texts import load_meanwhile
from fine_tuning.report.told.evaluation import lines, set_found
from fine_tuning.run import finished_run
from fine_tuning.screen import Screen
from fine_tuning.stages.asking import chat, evaluate
from fine_tuning.stages.asking.evaluate import Evaluate, RowSet, SetScores
from fine_tuning.values.answers.evaluation import Evaluated, LeftOut, SetFound, TaskFound
from fine_tuning.values.answers.scores import Score
from fine_tuning.values.codec import to_json
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import DataSpec

OF_DATA = frozenset(DataSpec.__dataclass_fields__)
BESIDE_A_RUN = {*OF_DATA, "score_samples"}
OURS, XML = b'{"version":', b"<?xml"  # as the files begin that are written


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The model that is scored: of a finished run (its folder and record), or a named one."""

    run: tuple[Path, RunRecord] | None
    tuned: str
    base: str | None


@dataclass(frozen=True)
class Wishes:
    """What is asked for beside the metrics: one's own, a judge, a gate."""

    own: Mapping[str, Metric]
    judge: Judge | None
    gate: Sequence[Line]


def run(job: Resolved) -> Outcome[Evaluated]:
    """Score, and print the tables."""
    began = time.monotonic()
    require_clear(job)
    report, junit, gate = (job.options[name] for name in ("report", "junit", "gate"))
    for name, place, ours in (("report", report, OURS), ("junit", junit, XML)):
        if place is not None:
            refuse_place(name, place, ours, job.spec.data.dataset_path)
    require_harness(job.options["tasks"] or ())
    own = read_metrics(job.options["metrics"] or (), ANSWERS)
    lines = read_gate(gate, own) if gate is not None else ()
    asked = asked_for(job)
    judge = judge_of(job, asked)
    refuse_unmeasured(lines, asked, job.options["forgetting"])
    end_like_ctrl_c()
    if job.spec.use_cpu:
        job = without_gpu(job)
    with open_screen() as screen, log_folder("eval") as folder:
        for warning in job.warnings:
            screen.warn(warning)
        found = evaluated(job, asked, Wishes(own, judge, lines), folder, screen)
    if report is not None:
        text = msgspec.json.encode({"version": 1, **to_json(found)}).decode()
        files.write_text(report, text + "\n")
        print(f"Report: {shown(report)}")
    if junit is not None:
        seconds = time.monotonic() - began
        write_junit(junit, found.gate, seconds=seconds, model=found.tuned)
    return Outcome(found, EXIT_DONE if found.passed else EXIT_FAILED)


def judge_of(job: Resolved, asked: Asked) -> Judge | None:
    """Who compares the answers. Raises UsageError where there is nothing to compare."""
    url, model, rubric = (job.options[name] for name in ("judge", "judge_model", "rubric"))
    if url is None:
        if model or rubric:
            raise UsageError("--judge_model and --rubric go with --judge: the address of an API.")
        return None
    if asked.base is None:
        raise UsageError("--judge compares two answers, and there is no base model.")
    if not str(url).startswith(("http://", "https://")):
        raise UsageError(f"--judge {url} is no address: it begins with http:// or https://.")
    return Judge(url=url, model=model, rubric=rubric or RUBRIC)


def evaluated(
    job: Resolved, asked: Asked, wishes: Wishes, folder: Path, screen: Screen
) -> Evaluated:
    """Everything that is scored, told on the screen as well."""
    trained_by = job.spec
    if asked.run is not None:
        trained_by = asked.run[1].settings.replace(use_cpu=job.spec.use_cpu)
    with worker_for(trained_by, folder / "engine.log") as worker:
        worker.start()  # its imports overlap with reading the rows
        rows = rows_of(job, asked, folder, screen)
        if rows.kind != "text":
            load_meanwhile(rows.path)
        voices = voices_of(job, asked, screen)
        general = job.options["forgetting"]
        if general is None:
            general = voices.base is not None and rows.kind != "text"
        general = general or any(line.rows == GENERAL for line in wishes.gate)
        sets = (rows, evaluate.forgetting()) if general else (rows,)
        tasks: tuple[TaskFound, ...] = ()
        scores = Evaluate(
            voices=voices,
            sets=sets,
            most_new=job.options["max_new_tokens"],
            folder=folder,
            worker=worker,
        ).do(screen)
    if job.options["tasks"]:  # the worker has given its memory back
        tasks = tasks_found(
            voices,
            job.options["tasks"],
            tasks_dir=job.options["tasks_dir"],
            use_cpu=trained_by.use_cpu or gpus_are_hidden() or not driver_gpus(),
            folder=folder,
            screen=screen,
        )
        for line in task_lines(tasks):
            screen.say(line)
    own = own_scores(wishes, scores["rows"], screen)
    found = [told(it, scores[it.name], own if it is rows else (), screen) for it in sets]
    held = [line.held((scores[line.rows].before, scores[line.rows].after)) for line in wishes.gate]
    for kept in held:
        if kept.holds:
            screen.say(f"gate: {kept.name} holds: {kept.says}")
        else:
            screen.warn(f"gate: {kept.name} does not hold: {kept.says}")
    return Evaluated(
        base=asked.base if voices.base else None,
        tuned=asked.tuned,
        sets=tuple(found),
        tasks=tasks,
        gate=tuple(held),
        passed=all(kept.holds for kept in held),
    )


def own_scores(wishes: Wishes, scores: SetScores, screen: Screen) -> list[Score]:
    """What the user's own metrics say of the rows, and the judge."""
    sides = scores.before, scores.after
    found = [score_of(metric, *sides) for metric in wishes.own.values()]
    if wishes.judge is not None and scores.after.samples:
        screen.begin("ask_judge", len(scores.rows), "rows")
        verdict = judged(wishes.judge, *sides, screen.advance)
        screen.end(f"{verdict.wins} won, {verdict.losses} lost, {verdict.ties} tied")
        if verdict.unread:
            screen.warn(f"{verdict.unread} replies of the judge name no answer: they are ties")
        found.append(verdict.score)
    return [score for score in found if score is not None]


def told(rows: RowSet, scores: SetScores, own: Sequence[Score], screen: Screen) -> SetFound:
    """A set, as it is told to programs; it is shown to people."""
    found, of_metrics = set_found(
        rows.name,
        shown(rows.path) if rows.origins is None else ", ".join(rows.origins.files),
        scores.rows,
        [LeftOut(place=rows.place(n), why=why) for n, why in scores.left_out.items()],
        rows.place,
        (scores.before, scores.after),
        own,
    )
    screen.say("")
    screen.say(f"{TITLES[rows.name]} ({found.count:,}, {found.source})")
    for line in lines(found, of_metrics):
        screen.say(line)
    return found


TITLES = {"rows": "Rows", "forgetting": "General rows: what was forgotten"}


def rows_of(job: Resolved, asked: Asked, folder: Path, screen: Screen) -> RowSet:
    """The rows to score: of the user's file, else those that the run held out."""
    samples = job.spec.score_samples if "score_samples" in job.sources else None
    if job.spec.data.dataset_path:
        return evaluate.of_file(job.spec, folder, samples, screen)
    assert asked.run is not None  # require_clear
    return evaluate.held_out(asked.run[1], asked.run[0], samples)


def voices_of(job: Resolved, asked: Asked, screen: Screen) -> Voices:
    """The model that is scored, and its base."""
    if asked.run is None:
        return chat.of_named(job.spec, screen)
    run_dir, record = asked.run
    return evaluate.of_run(record, run_dir, screen)


def asked_for(job: Resolved) -> Asked:
    """Which model is meant. Raises UsageError for a run that has not finished."""
    spec, adapter = job.spec, job.spec.engine_args.get("adapter_name_or_path")
    if spec.output_dir is None:
        tuned = str(adapter or spec.model_name_or_path)
        base = spec.model_name_or_path or "its base model"
        return Asked(run=None, tuned=tuned, base=base if adapter else None)
    run_dir, record = finished_run(spec.output_dir)
    base = record.settings.model_name_or_path or ""
    return Asked(run=(run_dir, record), tuned=shown(run_dir), base=base)


def require_clear(job: Resolved) -> None:
    """Raise UsageError with everything that is unclear about models, rows and numbers."""
    mistakes = source_mistakes(job, beside=BESIDE_A_RUN, what="an evaluation")
    data = job.spec.data
    if job.spec.output_dir is None and not data.dataset_path:
        mistakes.append("--dataset_path is needed: the rows to score the model on.")
    if not data.dataset_path:
        mistakes += [
            f"--{name} goes with --dataset_path: the run's held-out rows are read already."
            for name in sorted(OF_DATA & set(job.sources) - {"dataset_path"})
            if job.spec.output_dir is not None
        ]
    if job.options["junit"] is not None and job.options["gate"] is None:
        mistakes.append("--junit writes the lines of a gate: give one with --gate.")
    if job.options["tasks_dir"] is not None and not job.options["tasks"]:
        mistakes.append("--tasks_dir goes with --tasks: it holds tasks of your own.")
    if data.mix:
        mistakes.append("--mix weighs rows of a training: name the files with --dataset_path.")
    for name, number in (
        ("score_samples", job.spec.score_samples if "score_samples" in job.sources else None),
        ("max_new_tokens", job.options["max_new_tokens"]),
    ):
        if number is not None and number < 1:
            mistakes.append(f"--{name} must be 1 or more, not {number}.")
    if mistakes:
        raise UsageError(mistakes)


def refuse_unmeasured(gate: Sequence[Line], asked: Asked, general: bool | None) -> None:
    """Raise UsageError for lines of a gate that nothing will be measured for."""
    mistakes = [
        f"--gate: {line.name} compares with a base model, and there is none: give an at_least or "
        "at_most, or an adapter."
        for line in gate
        if line.needs_base and asked.base is None
    ]
    if general is False and any(line.rows == GENERAL for line in gate):
        mistakes.append("--gate: a line is about the general rows, which --no_forgetting leaves.")
    if mistakes:
        raise UsageError(mistakes)


def refuse_place(name: str, place: Path, begins: bytes, data: tuple[str, ...]) -> None:
    """Raise UsageError for a file that would replace one that does not begin like ours."""
    why = ""
    if not place.parent.is_dir():
        why = f"there is no directory {place.parent}"
    elif place.exists() and not place.is_file():
        why = "it is no file"
    elif place.exists() and any(
        at_home(file).exists() and place.samefile(at_home(file)) for file in data
    ):
        why = "it is the dataset itself"
    elif place.exists() and place.stat().st_size:
        with place.open("rb") as file:
            if file.read(len(begins)) != begins:
                why = "it exists and is none of ours; it is not overwritten"
    if why:
        raise UsageError(f"--{name} {place}: {why}.", fix=f"give --{name} a new file name")
