"""Training and validation rows: a partition of the checked rows that does not leak.

Which rows are held out depends on the seed and on the text of the rows alone: not on their order,
on the number of processes, or on rows that are added elsewhere.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fine_tuning.dataset.insight.near.find import DEFAULT_ROWS, read_clusters
from fine_tuning.dataset.insight.near.groups import Groups, equal_neighbours
from fine_tuning.dataset.insight.near.keys import RowKeys, read_keys
from fine_tuning.dataset.insight.near.leaks import RowFile, find_leaks, report_leaks
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.prepare.fit import CUT_TURNS, OVERLONG, TRUNCATED, Fit
from fine_tuning.dataset.prepare.mix import mixed_out
from fine_tuning.dataset.prepare.write import write_rows
from fine_tuning.errors import DataError
from fine_tuning.units import counted
from fine_tuning.values.data import NUMBERS, CheckedData, Problem, SplitData

FEWEST_ROWS = 10  # fewer are too few to hold any out
MOST_HELD_OUT = 500  # of a share; a number of rows is taken as it is
_REASONS = ("kept", OVERLONG, "duplicate", "leak", "mix")
_KEPT, _OVERLONG, _DUPLICATE, _LEAK, _MIX = range(len(_REASONS))

Reasons = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Choice:
    """Which of the kept rows are held out, and what the user should know about it."""

    held_out: Mask
    notes: tuple[str, ...] = ()


def split(
    checked: CheckedData,
    *,
    out_dir: Path,
    val_size: float,
    seed: int,
    dedup: bool,
    fit: Fit | None = None,
    validation_fit: Fit | None = None,
    mix: Mapping[str, float] | None = None,
    near_duplicates: bool | None = None,
    problems: Callable[[Problem], None] = lambda problem: None,
) -> SplitData:
    """Writes `train` and `validation` rows to `out_dir`; see `SplitData` for the account.

    `val_size` below 1 is a share (at most 500 rows), from 1 on a number of rows, 0 none; never
    more than half, and none of fewer than ten rows. Rows that are equal, have the same prompt or
    are near-duplicates stay on one side. A validation split that the data brought along is used
    as it is, and training rows that it holds too are reported through `problems`; `dedup` drops
    those, and repeats, from training. `mix` weighs the files (mix.py). `fit` and `validation_fit`
    say what becomes of overlong rows. Raises DataError if no training row is left.
    """
    keys = read_keys(checked.rows_path, seed)
    reasons = np.zeros(len(keys), np.uint8)
    _drop(reasons, np.array(sorted(fit.dropped if fit else ()), np.intp), _OVERLONG)
    if dedup:
        _drop(reasons, _repeats(keys, reasons == _KEPT), _DUPLICATE)
    notes: list[str] = []
    if checked.validation_path is not None:
        leaks, notes = _leaks(checked, keys, near_duplicates, dedup, problems)
        if dedup:
            _drop(reasons, leaks, _LEAK)
    if mix:
        _drop(reasons, mixed_out(checked, keys, reasons == _KEPT, mix), _MIX)
    kept = reasons == _KEPT
    if not kept.any():
        raise _nothing_left(reasons)
    if checked.validation_path is not None:
        notes.append(
            f"the data's own validation split is used ({counted(checked.validation_rows, 'row')})"
        )
        choice = _Choice(np.zeros(len(keys), np.bool_), tuple(notes))
    else:
        choice = _choose(checked, keys, kept, val_size)
    return _write(checked, out_dir, reasons, choice, fit, validation_fit)


def _drop(reasons: Reasons, rows: npt.NDArray[np.intp], reason: int) -> None:
    """Gives rows that are still kept a reason to go: the first reason counts."""
    reasons[rows[reasons[rows] == _KEPT]] = reason


def _repeats(keys: RowKeys, kept: Mask) -> npt.NDArray[np.intp]:
    """The kept rows that repeat an earlier kept row."""
    rows = np.flatnonzero(kept)
    repeats = [later for _, later in equal_neighbours(keys.contents[rows])]
    return rows[np.array(repeats, np.intp)]


def _leaks(
    checked: CheckedData,
    keys: RowKeys,
    near_duplicates: bool | None,
    dedup: bool,
    problems: Callable[[Problem], None],
) -> tuple[npt.NDArray[np.intp], list[str]]:
    assert checked.validation_path and checked.validation_origins_path
    validation = RowFile(checked.validation_path, read_keys(checked.validation_path))
    near = near_duplicates
    if near is None:
        near = len(keys) + len(validation.keys) <= DEFAULT_ROWS
    leaks = find_leaks(RowFile(checked.rows_path, keys), validation, near_duplicates=near)
    files = [file.path for file in checked.files]
    origins = read_origins(checked.origins_path, files)
    report_leaks(leaks, origins, read_origins(checked.validation_origins_path, files), problems)
    notes = []
    if leaks:
        fate = "dropped from training" if dedup else "kept; --dedup drops them from training"
        notes.append(f"{len(leaks):,} training rows are in the validation data too ({fate})")
    return np.array([leak.row for leak in leaks], np.intp), notes


def _choose(checked: CheckedData, keys: RowKeys, kept: Mask, val_size: float) -> _Choice:
    """Holds out whole groups, in the order of their hashes, until there are enough rows."""
    nobody = np.zeros(len(keys), np.bool_)
    rows = int(kept.sum())
    if not val_size > 0:
        return _Choice(nobody)
    if rows < FEWEST_ROWS:
        few = counted(rows, "row is", "rows are")
        note = f"no validation rows: {few} too few to hold any out (at least 10)"
        return _Choice(nobody, (note,))
    share = min(MOST_HELD_OUT, max(1, math.floor(rows * val_size + 0.5)))
    wanted = int(val_size) if val_size >= 1 else share
    target = min(wanted, rows // 2)
    # rows with one label must stay on one side
    groups = Groups(len(keys))
    groups.join_equal(keys.prompts)  # rows that are equal have equal prompts
    clusters = read_clusters(checked.rows_path, len(keys))
    if clusters is not None:
        for row in np.flatnonzero(clusters != np.arange(len(keys))).tolist():
            groups.join(row, int(clusters[row]))
    labels = groups.labels()
    held_out = np.isin(labels, _pick_groups(labels[kept], keys.places[kept], target)) & kept
    return _Choice(held_out, tuple(_choice_notes(int(held_out.sum()), wanted, rows, labels[kept])))


def _pick_groups(
    labels: npt.NDArray[np.uint32], places: npt.NDArray[np.uint64], target: int
) -> npt.NDArray[np.uint32]:
    """The labels of groups with at most `target` rows together, taken by their smallest hash."""
    sizes = np.bincount(labels)
    first_place = np.full(len(sizes), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(first_place, labels, places)
    picked: list[int] = []
    free = target
    for label in map(int, np.argsort(first_place, kind="stable")):
        if 0 < sizes[label] <= free:
            picked.append(label)
            free -= int(sizes[label])
        if not free:
            break
    return np.array(picked, np.uint32)


def _choice_notes(
    held_out: int, wanted: int, rows: int, labels: npt.NDArray[np.uint32]
) -> list[str]:
    if held_out == wanted:
        return []
    if not held_out:
        largest = Counter(labels.tolist()).most_common(1)[0][1]
        return [
            f"no validation rows: {largest:,} of {rows:,} rows share their prompt or most of their "
            "text and must stay together; give other rows with --val_dataset_path"
        ]
    rows_are = counted(held_out, "row is", "rows are")
    if wanted > rows // 2 and held_out == rows // 2:
        return [f"{rows_are} held out, not {wanted:,}: that is half of all rows"]
    return [
        f"{rows_are} held out, not {wanted:,}: the others share their prompt or most of "
        "their text with too many rows"
    ]


def _nothing_left(reasons: Reasons) -> DataError:
    gone = Counter(_REASONS[reason] for reason in reasons.tolist())
    why = ", ".join(f"{count:,} {reason}" for reason, count in gone.most_common())
    return DataError(
        "No training row is left.",
        why=f"dropped: {why}" if why else "the dataset has no usable row",
        fix="raise --max_seq_length, change --mix, or give other rows",
    )


def _write(
    checked: CheckedData,
    out_dir: Path,
    reasons: Reasons,
    choice: _Choice,
    fit: Fit | None,
    validation_fit: Fit | None,
) -> SplitData:
    out_dir.mkdir(parents=True, exist_ok=True)
    suffix = checked.rows_path.suffix
    train_path, val_path = out_dir / f"train{suffix}", out_dir / f"validation{suffix}"
    kept = reasons == _KEPT
    dropped = Counter({_REASONS[code]: int((reasons == code).sum()) for code in range(1, 5)})
    cut = _cut_counts(fit, kept)
    train = kept & ~choice.held_out
    cuts = fit.keep_rounds if fit else {}
    write_rows(checked.rows_path, train_path, train, cuts)
    np.flatnonzero(train).astype("<u4").tofile(train_path.with_suffix(NUMBERS))
    val_rows = int(choice.held_out.sum())
    held_out = np.flatnonzero(choice.held_out)
    val_path.unlink(missing_ok=True)  # of an earlier split
    if checked.validation_path is not None:
        given = np.ones(checked.validation_rows, np.bool_)
        given[sorted(validation_fit.dropped if validation_fit else ())] = False
        dropped[OVERLONG] += int((~given).sum())
        cut += _cut_counts(validation_fit, given)
        val_rows = int(given.sum())
        held_out = np.flatnonzero(given)
        cuts = validation_fit.keep_rounds if validation_fit else {}
        write_rows(checked.validation_path, val_path, given, cuts)
    elif val_rows:
        write_rows(checked.rows_path, val_path, choice.held_out, cuts)
    held_out.astype("<u4").tofile(val_path.with_suffix(NUMBERS))
    return SplitData(
        train_path=train_path,
        val_path=val_path if val_rows else None,
        train_rows=int(train.sum()),
        val_rows=val_rows,
        dropped={reason: count for reason, count in dropped.items() if count},
        cut={outcome: count for outcome, count in cut.items() if count},
        notes=choice.notes,
    )


def _cut_counts(fit: Fit | None, kept: Mask) -> Counter[str]:
    """How many of the kept rows are shortened by us, and by the engine."""
    if fit is None:
        return Counter()
    return Counter(
        {
            CUT_TURNS: sum(bool(kept[row]) for row in fit.keep_rounds),
            TRUNCATED: sum(bool(kept[row]) for row in fit.truncated),
        }
    )


def training_places(data: CheckedData, parts: SplitData, rows: Sequence[int]) -> list[str]:
    """Where training rows stand in the user's files, by their numbers among these, from 0."""
    numbers = np.fromfile(parts.train_path.with_suffix(NUMBERS), "<u4")
    origins = read_origins(data.origins_path, [file.path for file in data.files])
    return [origins.place(int(numbers[row])) for row in rows]
