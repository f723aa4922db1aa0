"""Small decisions between the stages."""

import json
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fine_tuning.dataset.formats import WEIGHT
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.prepare import register
from fine_tuning.dataset.prepare.fit import TurnLengths, fit_problems, fit_rows
from fine_tuning.dataset.problems import cause_of
from fine_tuning.errors import UsageError
from fine_tuning.job.opening import Job
from fine_tuning.run_folder import to_json
from fine_tuning.values.data import CheckedData, Problem, SplitData
from fine_tuning.values.kinds import KINDS
from fine_tuning.values.objectives import default_stage, stage_mismatch
from fine_tuning.values.plan import Rows
from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook


def stage_for(spec: RunSpec, data: CheckedData) -> str:
    """The stage that was asked for or that fits; UsageError if it does not fit the rows."""
    stage = spec.stage or default_stage(data.kind)
    mismatch = stage_mismatch(data.kind, stage)
    if mismatch or stage is None:
        raise UsageError(mismatch or "--stage is needed")
    return stage


def planned_rows(
    job: Job, data: CheckedData, parts: SplitData, look: TokenLook, stage: str
) -> Rows:
    """What the plan needs to know of the prepared rows.

    Of either part the engine takes at most `max_samples` (llamafactory/data/loader.py).
    """
    there = parts.train_rows + parts.val_rows
    most = int(job.spec.engine_args.get("max_samples") or there)
    train, validation = min(parts.train_rows, most), min(parts.val_rows, most)
    return Rows(
        kind=data.kind,
        stage=stage,
        train=train,
        validation=validation,
        tokens=look.tokens * (train + validation) // max(1, there),
        held_out=_held_out(parts),
        encoded=encoded_path(job) if WEIGHT in data.columns else None,
        packed=not KINDS[data.kind].is_chat and job.spec.engine_args.get("packing") is not False,
        train_name=entry_name(job, "train"),
        validation_name=entry_name(job, "validation"),
        dataset_dir=job.folder.dataset,
    )


def _held_out(parts: SplitData) -> float:
    """The share of the prepared rows, by their size on disk, that is held out."""
    sizes = [path.stat().st_size for path in (parts.train_path, parts.val_path) if path]
    return sizes[1] / max(1, sum(sizes)) if len(sizes) > 1 else 0.0


def encoded_path(job: Job) -> Path:
    """Where rows are encoded ahead of the training: the engine by itself knows no weights."""
    return job.folder.dataset / "encoded"


class Found:
    """Problems as they are found: each to a file, and by cause with the first place."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._groups: dict[str, ProblemGroup] = {}

    def add(self, problem: Problem) -> None:
        """Name one problem."""
        self._file.write(json.dumps(to_json(problem), ensure_ascii=False) + "\n")
        known = self._groups.get(problem.code)
        if known is not None:
            self._groups[problem.code] = replace(known, count=known.count + 1)
            return
        cause = cause_of(problem.code, problem.severity)
        self._groups[problem.code] = ProblemGroup(
            code=problem.code,
            count=1,
            message=cause.title,
            first=problem.place,
            suggestion=cause.fix,
            severity=problem.severity,
            example=problem.message,
        )

    def close(self) -> list[ProblemGroup]:
        """The causes, the most frequent first."""
        self._file.close()
        return sorted(self._groups.values(), key=lambda group: -group.count)


@dataclass(frozen=True)
class Fits:
    """What becomes of overlong rows of either part."""

    training: Any
    validation: Any


def fits(spec: RunSpec, data: CheckedData, look: TokenLook) -> Fits:
    """Decide about the rows that the worker found to be over the cutoff."""
    files = [file.path for file in data.files]

    def decided(rounds: TurnLengths, with_media: Set[int], origins: Path | None) -> Any:
        if origins is None:
            return None
        return fit_rows(
            data.kind,
            rounds,
            cutoff=look.cutoff,
            policy=spec.overlong,
            origins=read_origins(origins, files),
            with_media=with_media,
        )

    return Fits(
        decided(look.overlong, look.overlong_media, data.origins_path),
        decided(
            look.validation_overlong, look.validation_overlong_media, data.validation_origins_path
        ),
    )


def name_overlong(fits: Fits, data: CheckedData, found: Found) -> None:
    """Name every row that was over the cutoff, by file and line, with its outcome."""
    files = [file.path for file in data.files]
    parts = (
        (fits.training, data.origins_path),
        (fits.validation, data.validation_origins_path),
    )
    for fit, origins in parts:
        if fit is not None and origins is not None:
            for problem in fit_problems(fit, read_origins(origins, files)):
                found.add(problem)


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


def ship_template(run_dir: Path, chat_template: str | None) -> None:
    """Leave this chat template beside the adapter, or none: not what LLaMA-Factory made of it."""
    path = run_dir / "chat_template.jinja"
    if chat_template is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(chat_template, encoding="utf-8")
