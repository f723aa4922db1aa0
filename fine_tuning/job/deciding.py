"""Small decisions between the stages, and what is refused there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.dataset import register
from fine_tuning.dataset.fit import fit_rows
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.stages import default_stage, stage_mismatch
from fine_tuning.dataset.types import CheckedData, SplitData
from fine_tuning.engine.plan.settings import Plan
from fine_tuning.errors import EngineError, RunConflict, UsageError
from fine_tuning.job.opening import Job
from fine_tuning.run_folder import (
    from_json,
)
from fine_tuning.spec import RunSpec


def refuse_changed_data(job: Job, before: Mapping[str, Any], data: CheckedData) -> None:
    """Raise RunConflict if this run was begun with other rows."""
    if not before or not job.folder.stage("train"):
        return
    old = from_json(before, CheckedData)
    if old.fingerprint == data.fingerprint:
        return
    raise RunConflict(
        f"{job.folder.path} was trained on other rows: {old.rows_kept:,} then, "
        f"{data.rows_kept:,} now, and their content differs.",
        fix="give another --output_dir, or --restart to start this run again "
        "(the old state is moved aside)",
    )


def stage_for(spec: RunSpec, data: CheckedData) -> str:
    """The stage that was asked for or that fits; UsageError if it does not fit the rows."""
    stage = spec.stage or default_stage(data.kind)
    mismatch = stage_mismatch(data.kind, stage)
    if mismatch or stage is None:
        raise UsageError(mismatch or "--stage is needed")
    return stage


@dataclass(frozen=True)
class Fits:
    """What becomes of overlong rows of either part."""

    training: Any
    validation: Any


def fits(job: Job, data: CheckedData, tokens: Mapping[str, Any]) -> Fits:
    """Decide about the rows that the worker found to be over the cutoff."""
    files = [file.path for file in data.files]

    def decided(rounds: Mapping[str, list[int]], origins: Path | None) -> Any:
        if origins is None:
            return None
        return fit_rows(
            data.kind,
            {int(row): counts for row, counts in rounds.items()},
            cutoff=int(tokens["cutoff"]),
            policy=job.spec.overlong,
            origins=read_origins(origins, files),
            columns=data.columns,
        )

    return Fits(
        decided(tokens["overlong"], data.origins_path),
        decided(tokens["validation_overlong"], data.validation_origins_path),
    )


def entry_name(job: Job, part: str) -> str:
    """The name of one part of the data in LLaMA-Factory's dataset_info.json."""
    return register.entry_name(job.folder.path, part)


def dataset_entries(job: Job, data: CheckedData, parts: SplitData) -> dict[str, Any]:
    """LLaMA-Factory's entries of the prepared files."""
    paths = {"train": parts.train_path, "validation": parts.val_path}
    return {
        entry_name(job, part): register.dataset_entry(data.kind, data.columns, str(path))
        for part, path in paths.items()
        if path is not None
    }


def check_row_count(parts: SplitData, plan: Plan, result: Mapping[str, Any]) -> None:
    """Raise EngineError if the engine encoded another number of rows than we prepared."""
    counted = result.get("encoded_rows")
    packed = plan.settings.get("packing") or plan.settings.get("neat_packing")
    if counted is None or packed or plan.settings["stage"] == "pt":
        return
    if counted != parts.train_rows:
        raise EngineError(
            f"{parts.train_rows:,} rows were prepared, but LLaMA-Factory encoded {counted:,}.",
            why="rows were lost or repeated on the way; the adapter was trained on something else",
            fix="look for 'Dropped' in logs/engine.log, and please report it",
        )
