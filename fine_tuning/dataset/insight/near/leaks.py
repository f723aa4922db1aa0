"""Training rows that the validation data holds as well: their score would flatter the model."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fine_tuning.dataset.insight.near.find import find_near_duplicates
from fine_tuning.dataset.insight.near.keys import RowKeys
from fine_tuning.dataset.insight.rows import Origins
from fine_tuning.values.data import Problem

NAMED_PER_CODE = 2000
_MEANING = {
    "leak_duplicate": "the same row is in the validation data",
    "leak_prompt": "the same prompt, with another answer, is in the validation data",
    "leak_near_duplicate": "nearly the same row is in the validation data",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """A training row, the validation row that it gives away, and how (a code)."""

    row: int
    validation_row: int
    code: str


@dataclass(frozen=True)
class RowFile:
    """Rows on disk with their keys."""

    path: Path
    keys: RowKeys


def find_leaks(training: RowFile, validation: RowFile, *, near_duplicates: bool) -> list[Leak]:
    """At most one leak for each training row, in the order of the rows; equal rows first."""
    found: dict[int, Leak] = {}
    for code, ours, theirs in (
        ("leak_duplicate", training.keys.contents, validation.keys.contents),
        ("leak_prompt", training.keys.prompts, validation.keys.prompts),
    ):
        order = np.argsort(theirs, kind="stable")
        for row in np.flatnonzero(np.isin(ours, theirs)).tolist():
            other = int(order[np.searchsorted(theirs, ours[row], sorter=order)])
            found.setdefault(row, Leak(row, other, code))
    if near_duplicates:
        held_out = len(validation.keys)
        total = held_out + len(training.keys)
        clusters = find_near_duplicates([validation.path, training.path], total).clusters
        for row, cluster in enumerate(clusters[held_out:].tolist()):
            if cluster < held_out:
                found.setdefault(row, Leak(row, cluster, "leak_near_duplicate"))
    return [found[row] for row in sorted(found)]


def report_leaks(
    leaks: list[Leak],
    training: Origins,
    validation: Origins,
    problems: Callable[[Problem], None],
) -> None:
    """A warning for each leak, at most 2,000 of a code, naming both rows."""
    named: Counter[str] = Counter()
    for leak in leaks:
        named[leak.code] += 1
        if named[leak.code] <= NAMED_PER_CODE:
            file, line = training.of(leak.row)
            other, other_line = validation.of(leak.validation_row)
            message = f"{_MEANING[leak.code]} ({other}:{other_line})"
            problems(Problem(file, line, None, leak.code, message, "warning"))
