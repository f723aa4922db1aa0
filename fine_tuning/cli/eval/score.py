"""`score`: what a reward model gives the conversations of a file."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.output.report_place import refuse_taken, workplace
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.dataset.check import account, download, refuse_unusable
from fine_tuning.dataset.insight.rows import decode_row, read_lines, read_origins
from fine_tuning.disk import files
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import worker_for
from fine_tuning.errors import UsageError
from fine_tuning.report.told.scores import wilson
from fine_tuning.run import finished_run
from fine_tuning.screen import Screen, downloading
from fine_tuning.stages.asking import judge
from fine_tuning.units import counted, percent_text
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import RunSpec

HEEDED = frozenset({"trust_remote_code", "model_revision", "cache_dir"})
MARK = b'{"reward_model":'


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """How well the rewards rank answers of which the rows say whether they are wanted."""

    comparisons: Annotated[int, "pairs; of single answers the number of the rarer mark"]
    accuracy: Annotated[float | None, "share of pairs won by the wanted answer; ties count half"]
    accuracy_interval: Annotated[tuple[float, float], "95% Wilson interval"]
    margin: Annotated[float | None, "mean reward of wanted answers less that of the others"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a reward model gives the rows of a file; --report writes the score of each."""

    reward_model: Annotated[str, "its directory, run or name"]
    rows_read: Annotated[int, "records of all files"]
    rows_scored: Annotated[int, "usable ones"]
    mean: Annotated[float | None, "of the rewards; of comparisons of the chosen answers"]
    ranked: Annotated[Ranked | None, "where rows say which answers are wanted"] = None
    report: Annotated[Path | None, "the score of each row"] = None


def run(job: Resolved) -> Outcome[Scored]:
    """Check the rows, let the reward model read them, print how it ranks them, write the report."""
    spec, report = job.spec, job.options["report"]
    require_source(job)
    end_like_ctrl_c()
    named = (*spec.data.dataset_path, *spec.data.mix)
    if report is not None:
        refuse_taken(report, MARK, named)
    everything = dataclasses.replace(spec.data, ignore_splits=True)
    with workplace(report) as folder, open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        with worker_for(spec, folder / "engine.log") as worker:
            worker.start()  # its imports overlap with reading the data
            model = named_model(spec, screen)
            with downloading(screen, "fetch_data", ", ".join(named)) as on_bytes:
                download(everything, (), on_bytes)
            screen.begin("read", None, "bytes")
            data = account(
                everything,
                out_dir=folder / "checked",
                progress=lambda at: screen.advance(at.done, at.total),
            )
            screen.end(f"{data.rows_kept:,} of {data.rows_read:,} rows are usable ({data.format})")
            screen.problems(data.problems)
            refuse_unusable(data, everything)
            if data.kind == "text":
                raise UsageError(
                    "A reward model scores conversations, and these rows are plain text.",
                    fix="give chat rows, or pairs of a chosen and a rejected answer",
                )
            rewards = judge.rewards_of(model, data.rows_path, worker, screen)
        labels = [decode_row(line).label for line in read_lines(data.rows_path)]
        found = summary(model.name, data, rewards, labels, report)
        if report is not None:
            write_scores(report, found, data, rewards, labels)
        for line in lines(found):
            screen.say(line)
    return Outcome(found)


def require_source(job: Resolved) -> None:
    """Raise UsageError unless one reward model and some rows are named."""
    spec, given = job.spec, set(job.spec.engine_args)
    heeded = HEEDED if spec.output_dir is None else frozenset[str]()
    mistakes = [f"--{name} changes nothing here: leave it out." for name in sorted(given - heeded)]
    if (spec.output_dir is None) == (spec.model_name_or_path is None):
        mistakes.append(
            "Name one reward model: --model_name_or_path for a classifier with one label (the "
            "--export_dir of a run of --stage rm), or --output_dir for such a run."
        )
    if not spec.data.dataset_path and not spec.data.mix:
        mistakes.append("--dataset_path is needed: the rows to score.")
    if mistakes:
        raise UsageError(mistakes)


def named_model(spec: RunSpec, screen: Screen) -> judge.RewardModel:
    """The reward model of a finished run, or the one that is named."""
    if spec.output_dir is None:
        return judge.of_named(spec, screen)
    run_dir, record = finished_run(spec.output_dir)
    return judge.of_run(record, run_dir, screen)


def summary(
    name: str,
    data: CheckedData,
    rewards: list[tuple[float, ...]],
    labels: list[bool | None],
    report: Path | None,
) -> Scored:
    """The rewards in a few numbers."""
    ranked, found = None, judge.compared(rewards, labels)
    if found is not None:
        accuracy, count = found.accuracy, found.count
        ranked = Ranked(
            comparisons=count,
            accuracy=accuracy,
            accuracy_interval=wilson(round((accuracy or 0) * count), count),
            margin=found.margin,
        )
    mean = fmean(one[0] for one in rewards) if rewards else math.nan
    return Scored(
        reward_model=name,
        rows_read=data.rows_read,
        rows_scored=len(rewards),
        mean=mean if math.isfinite(mean) else None,
        ranked=ranked,
        report=report,
    )


def lines(found: Scored) -> list[str]:
    """What is said on the screen."""
    mean = "not a number" if found.mean is None else f"{found.mean:.4g}"
    told = [f"Mean reward: {mean} on {counted(found.rows_scored, 'row')}"]
    if found.ranked is not None and found.ranked.accuracy is not None:
        low, high = map(percent_text, found.ranked.accuracy_interval)
        told = [
            f"Reward accuracy: {percent_text(found.ranked.accuracy)} ({low} to {high}) on "
            f"{counted(found.ranked.comparisons, 'comparison')}",
            f"Reward margin: {found.ranked.margin:.4g}",
        ]
    return [*told, f"Scores: {shown(found.report)}"] if found.report else told


def write_scores(
    path: Path,
    found: Scored,
    data: CheckedData,
    rewards: Sequence[tuple[float, ...]],
    labels: Sequence[bool | None],
) -> None:
    """The report: what was found, and a line for each row, by its file and line."""
    origins = read_origins(data.origins_path, [file.path for file in data.files])
    head: dict[str, Any] = {**dataclasses.asdict(found), "rows_dropped": data.rows_dropped}
    head.pop("report")
    rows = []
    for number, (one, label) in enumerate(zip(rewards, labels, strict=True)):
        file, line = origins.of(number)
        names = ("chosen", "rejected") if one[1:] else ("score",)
        score = dict(zip(names, one, strict=True))
        rows.append({"file": file, "line": line, **_marked(score, label)})
    text = ",\n ".join(json.dumps(_finite(row), ensure_ascii=False) for row in rows)
    begun = json.dumps(_finite(head), ensure_ascii=False).removesuffix("}")
    begun = begun.replace('{"reward_model": ', MARK.decode(), 1)
    files.write_text(path, f'{begun}, "scores": [\n {text}\n]}}\n')


def _marked(score: dict[str, Any], label: bool | None) -> dict[str, Any]:
    """With who wins, or with the mark that the row has."""
    if "rejected" not in score:
        return score if label is None else {**score, "label": label}
    better, worse = score["chosen"], score["rejected"]
    winner = "tie" if better == worse else "chosen" if better > worse else "rejected"
    return {**score, "winner": winner}


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no numbers that are not finite."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
