"""Which format a file has, judged by the columns of all its rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from fine_tuning.dataset.recognise.formats import Format, Shape, all_formats
from fine_tuning.dataset.recognise.paths import ABSENT, value_at
from fine_tuning.errors import UsageError
from fine_tuning.units import counted

Votes = Counter[tuple[str, ...]]
# Prompts alone: so looks every row of another format whose answer is null, which says nothing
# about its file.
ALONE = "prompts"


def renamed(row: Mapping[str, Any], renames: Mapping[str, str]) -> Mapping[str, Any]:
    """A row under our column names; where two columns would have one, the named one has it."""
    if not renames:
        return row
    found = ((ours, value_at(row, yours)) for yours, ours in renames.items())
    named = {ours: value for ours, value in found if value is not ABSENT}
    return {key: value for key, value in row.items() if key not in renames} | named


def formats_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The formats that a row's columns fit best: none, one, or several in a tie."""
    best = 0
    names: tuple[str, ...] = ()
    for name, shape in _possible(tuple([key for key, value in row.items() if value is not None])):
        if shape.score < best:
            break
        if shape.has_values(row) and name not in names:
            best, names = shape.score, (*names, name)
    return names


@lru_cache(4096)
def _possible(columns: tuple[str, ...]) -> tuple[tuple[str, Shape], ...]:
    """The shapes that these columns allow, the best first; most files have few sets of columns."""
    shapes = [
        (name, shape)
        for name, known in all_formats().items()
        for shape in known.shapes
        if shape.possible(columns)
    ]
    return tuple(sorted(shapes, key=lambda item: -item[1].score))


def vote(rows: Iterable[Any], renames: Mapping[str, str]) -> Votes:
    """How many rows fit which formats."""
    votes: Votes = Counter()
    for row in rows:
        if isinstance(row, dict):
            votes[formats_of(renamed(row, renames))] += 1
    return votes


def winner(votes: Votes, path: str) -> str | None:
    """The format of most rows; None if no row fits any.

    Raises UsageError if the same rows fit two formats equally well.
    """
    totals: Counter[str] = Counter()
    for names, count in votes.items():
        for name in names:
            totals[name] += count
    if not totals:
        return None
    if totals.keys() - {ALONE}:
        del totals[ALONE]
    for name, known in all_formats().items():
        if totals[name]:
            totals[name] += sum(totals[other] for other in known.includes)
    totals += Counter()  # without the zeros that asking left
    (first, most), *others = totals.most_common()
    tied = sorted([first, *(name for name, count in others if count == most)])
    if len(tied) > 1 and any(len({*names} & {*tied}) > 1 for names in votes):
        raise UsageError(
            f"{path}: the rows fit several formats equally: {', '.join(tied)}.",
            fix=f"say which it is: --dataset_format {tied[0]} (or {', '.join(tied[1:])})",
        )
    return tied[0]


def evidence_for(format: Format, votes: Votes, row: Mapping[str, Any]) -> str:
    """Why this format, in words: the columns, and in how many of the rows that were compared."""
    shape = next((shape for shape in format.shapes if shape.fits(row)), None)
    wide = {format.name, *format.includes}
    fitting = sum(count for names, count in votes.items() if wide & set(names))
    others = sum(votes.values()) - fitting
    tail = f" in {counted(fitting, 'row')}, not in {others:,}" if others else " in all rows"
    if shape is None:  # none of the first rows has it
        return f"columns {format.shapes[0]}{tail}"
    present = [next(n for n in names if row.get(n) is not None) for names in shape.columns]
    noun = "column" if len(present) == 1 else "columns"
    read = format.assigned([name for name, value in row.items() if value is not None])
    more = [f"{ours}={name}" for ours, name in read.items() if name not in (ours, *present)]
    tail += f"; also {', '.join(more)}" if more else ""
    looks = " with Human:/Assistant: turns" if format.name == "belle" else ""
    return f"{noun} {', '.join(present)}{looks}{tail}"
