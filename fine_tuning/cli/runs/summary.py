"""What is said of a run where there are many: from its record alone, without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from fine_tuning.disk import files
from fine_tuning.disk.checkpoints import has_weights
from fine_tuning.errors import FineTuningError
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.answers.ladder import Ladder
from fine_tuning.values.record import RunRecord, Stages, result_of

State = Literal["running", "done", "failed", "interrupted", "dry_run", "ended", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of the held-out rows, before the training and after it."""

    before: Annotated[float | None, "null: it was not measured, or is not finite"] = None
    after: Annotated[float | None, "the same of the tuned model"] = None


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run."""

    path: Annotated[Path, "its folder"]
    state: Annotated[
        State, "ended: its process has gone without a word; unreadable: run.json is no record"
    ]
    trouble: Annotated[str, "why it failed, or cannot be read"] = ""
    model: Annotated[str, "the base model as it was named"] = ""
    data: Annotated[tuple[str, ...], "files or datasets as they were named"] = ()
    method: Annotated[str, "what was trained"] = ""
    stage: Annotated[str, "kind of training; empty before it was chosen"] = ""
    quantization: Annotated[str, "of the base model"] = "none"
    rows: Annotated[int | None, "rows to train on"] = None
    held_out: Annotated[int | None, "rows that are held out"] = None
    step: Annotated[int, "the last that was logged"] = 0
    steps: Annotated[int, "that were planned"] = 0
    epochs: Annotated[float | None, "passes over the rows that were asked for"] = None
    scores: Annotated[Mapping[str, Metric], "by the metric's name"] = field(default_factory=dict)
    scored_rows: Annotated[int | None, "held-out rows behind the scores"] = None
    created: Annotated[float | None, "when it began, in seconds since 1970"] = None
    seconds: Annotated[float, "spent in all its stages, so far"] = 0.0
    model_path: Annotated[Path | None, "where the adapter lies, or the whole trained model"] = None
    merged_path: Annotated[Path | None, "the merged model"] = None
    gguf_paths: Annotated[tuple[Path, ...], "GGUF files of the merged model"] = ()
    quantized_path: Annotated[Path | None, "the merged model for GPU servers"] = None
    ladder: Annotated[Ladder | None, "sizes that --gguf ladder measured"] = None
    report: Annotated[Path | None, "its page"] = None


def summary_of(path: Path) -> RunSummary:
    """The run in this folder; one that cannot be read says why, and raises nothing."""
    try:
        record = read_record(RunFolder(path))
    except (FineTuningError, OSError) as error:
        what = error.what if isinstance(error, FineTuningError) else str(error)
        return RunSummary(path=path, state="unreadable", trouble=what.replace("\n", " "))
    if record is None:
        return RunSummary(path=path, state="unreadable", trouble="there is no run.json")
    return of_record(path, record)


def of_record(path: Path, record: RunRecord) -> RunSummary:
    """The run as its record has it."""
    spec, stages = record.settings, record.stages
    plan, parts = result_of(stages.plan), result_of(stages.split)
    merged, gguf = result_of(stages.merge), result_of(stages.gguf)
    made = result_of(stages.quantize)
    page = path / "report.html"
    logged, state = last_logged(path), state_of(RunFolder(path), record)
    spent = sum(stages.seconds.values()) + sum(record.unfinished.values())
    # a record is written when a stage begins or ends
    at_work = files.age(RunFolder(path).record) if state == "running" else 0.0
    return RunSummary(
        path=path,
        state=state,
        trouble=record.failure.what if record.failure and record.status == "failed" else "",
        model=spec.model_name_or_path or "",
        data=spec.data.dataset_path or tuple(spec.data.mix),
        method=plan.chosen.method if plan else spec.method,
        stage=plan.rows.stage if plan else spec.stage or "",
        quantization=spec.quantization,
        rows=parts.train_rows if parts else None,
        held_out=parts.val_rows if parts else None,
        step=int(logged.get("current_steps") or 0),
        steps=plan.chosen.steps if plan else 0,
        epochs=spec.epochs,
        created=record.created,
        seconds=round(spent + at_work, 3),
        model_path=path if has_weights(path) else None,
        merged_path=merged.path if merged and merged.path.exists() else None,
        quantized_path=made.path if made and made.path.exists() else None,
        ladder=result_of(stages.ladder),
        gguf_paths=tuple(file.path for file in gguf.files if file.path.exists()) if gguf else (),
        report=page if page.exists() else None,
        **_scores(stages),
    )


def state_of(folder: RunFolder, record: RunRecord) -> State:
    """As recorded; of a run that says it is at work, whether a process is."""
    if record.status != "running":
        return record.status
    return "running" if folder.is_held else "ended"


def _scores(stages: Stages) -> dict[str, Any]:
    trained = result_of(stages.train)
    if trained is None:
        return {}
    before, after = trained.before, trained.after
    counts = {"n", "tokens", "comparisons"}
    names = [name for name in {**before, **after} if name not in counts]
    rows = after.get("n") or before.get("n")
    return {
        "scores": {n: Metric(before=before.get(n), after=after.get(n)) for n in names},
        "scored_rows": None if rows is None else int(rows),
    }


def last_logged(path: Path) -> dict[str, Any]:
    """The last line that LLaMA-Factory logged of a training (train/callbacks.py: LogCallback)."""
    try:
        with (path / "trainer_log.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}
