"""split: training and validation rows; overlong rows are cut or dropped, and counted."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TextIO

from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.prepare.fit import (
    CUT_TURNS,
    OVERLONG,
    TRUNCATED,
    Fit,
    TurnLengths,
    fit_problems,
    fit_rows,
)
from fine_tuning.dataset.prepare.split import split
from fine_tuning.dataset.problems import cause_of
from fine_tuning.disk import hashes
from fine_tuning.screen import Screen
from fine_tuning.units import counted
from fine_tuning.values.codec import to_json
from fine_tuning.values.data import CheckedData, Problem, SplitData
from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook

OUTCOMES = {
    OVERLONG: "longer than the cutoff, dropped",
    CUT_TURNS: "longer than the cutoff, only the rounds that fit are kept",
    TRUNCATED: "longer than the cutoff, cut off by the engine",
    "duplicate": "repeats of another row, dropped",
    "leak": "also in the validation data, dropped from training",
    "mix": "left out by the weights of --mix",
}


@dataclass(frozen=True, kw_only=True)
class Split:
    """Part the checked rows in the folder `dataset`."""

    name: ClassVar[str] = "split"
    spec: RunSpec
    data: CheckedData
    look: TokenLook
    dataset: Path

    def inputs(self) -> tuple[Any, ...]:
        """Which rows are over the cutoff depends on model and template, also where the cutoff does
        not."""
        spec, look = self.spec, self.look
        return (
            self.data.fingerprint,
            look.cutoff,
            _by_name(look.overlong),
            _by_name(look.validation_overlong),
            spec.val_size,
            spec.seed,
            spec.overlong,
            spec.data,
        )

    def holds(self, known: SplitData) -> bool:
        """The two parts lie where they were written, as they were written."""
        there = known.train_path.exists() and (known.val_path is None or known.val_path.exists())
        return there and not hashes.changed(known.train_path.parent)

    def do(self, screen: Screen) -> SplitData:
        spec, folder = self.spec, self.dataset / "split"
        warn_changed(folder, screen)
        fits = fits_of(spec, self.data, self.look)
        with (self.dataset / "split_problems.jsonl").open("w", encoding="utf-8") as file:
            found = Named(file)
            parts = split(
                self.data,
                out_dir=folder,
                val_size=spec.val_size,
                seed=spec.seed,
                dedup=spec.data.dedup,
                fit=fits.training,
                validation_fit=fits.validation,
                mix=spec.data.mix,
                near_duplicates=spec.data.near_duplicates,
                problems=found.add,
            )
            for problem in fits.problems(self.data):
                found.add(problem)
        hashes.write(folder, ("*",), "xxh3_128")
        return replace(parts, problems=found.by_cause)

    def tell(self, result: SplitData, screen: Screen, *, known: bool) -> None:
        if known:
            return
        screen.say(
            f"{counted(result.train_rows, 'row')} to train on, {result.val_rows:,} held out."
        )
        for reason, count in {**result.dropped, **result.cut}.items():
            screen.warn(outcome_text(reason, count))
        for note in result.notes:
            screen.say(note)


def warn_changed(folder: Path, screen: Screen) -> None:
    """Name files that are not what was written there, before they are made anew."""
    for what in hashes.changed(folder):
        screen.warn(f"{folder}: {what}. It is made anew.")


def _by_name(overlong: TurnLengths) -> dict[str, Sequence[int]]:
    """Rows by their numbers as text, as in JSON: the order of keys is part of a hash."""
    return {str(row): rounds for row, rounds in overlong.items()}


@dataclass(frozen=True)
class Fits:
    """What becomes of overlong rows of either part; of no validation rows, None."""

    training: Fit
    validation: Fit | None

    def problems(self, data: CheckedData) -> Iterator[Problem]:
        """Every row that was over the cutoff, by file and line, with its outcome."""
        files = [file.path for file in data.files]
        parts = (
            (self.training, data.origins_path),
            (self.validation, data.validation_origins_path),
        )
        for fit, origins in parts:
            if fit is not None and origins is not None:
                yield from fit_problems(fit, read_origins(origins, files))


def fits_of(spec: RunSpec, data: CheckedData, look: TokenLook) -> Fits:
    """Decide about the rows that the worker found to be over the cutoff."""
    files = [file.path for file in data.files]

    def decided(rounds: TurnLengths, with_media: Set[int], origins: Path) -> Fit:
        return fit_rows(
            data.kind,
            rounds,
            cutoff=look.cutoff,
            policy=spec.overlong,
            origins=read_origins(origins, files),
            with_media=with_media,
        )

    held_out = data.validation_origins_path
    return Fits(
        decided(look.overlong, look.overlong_media, data.origins_path),
        decided(look.validation_overlong, look.validation_overlong_media, held_out)
        if held_out is not None
        else None,
    )


class Named:
    """Problems as they are found: each to a file, and by cause with the first place."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
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

    @property
    def by_cause(self) -> tuple[ProblemGroup, ...]:
        """The causes, the most frequent first."""
        return tuple(sorted(self._groups.values(), key=lambda group: -group.count))


def outcome_text(outcome: str, count: int) -> str:
    """What became of so many rows."""
    return f"{counted(count, 'row')}: {OUTCOMES.get(outcome, outcome)}"


def outcomes(fits: Fits) -> Mapping[str, int]:
    """How many overlong rows are dropped or cut, of both parts."""
    counts = dict(fits.training.counts)
    for outcome, rows in (fits.validation.counts if fits.validation else {}).items():
        counts[outcome] = counts.get(outcome, 0) + rows
    return {outcome: rows for outcome, rows in counts.items() if rows}
