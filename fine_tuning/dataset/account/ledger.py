"""Every file's parts as one dataset: which kept row came from where, and every problem in order."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fine_tuning.dataset.account.schedule import Part
from fine_tuning.dataset.account.sink import (
    DROPPED,
    LINES,
    PROBLEMS,
    Slice,
    numbers,
    spooled_problems,
)
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.problems import CAUSES
from fine_tuning.dataset.recognise.formats import all_formats
from fine_tuning.dataset.sources import Source
from fine_tuning.units import counted
from fine_tuning.values.data import Problem, Severity
from fine_tuning.values.tables.kinds import Kind


@dataclass(frozen=True)
class ReadFile:
    """One file with its parts; the rows of a part count on from the parts before it."""

    source: Source
    plan: Plan
    parts: list[Part]
    evidence: str = ""
    sha256: str = ""
    notes: tuple[tuple[str, str], ...] = ()  # problems of the whole file: (code, message)

    @property
    def rows_read(self) -> int:
        return sum(part.result.rows_read for part in self.parts)

    @property
    def rows_kept(self) -> int:
        return sum(part.result.rows_kept for part in self.parts)

    @property
    def kind(self) -> Kind:
        known = all_formats().get(self.plan.format)
        return known.kind if known else "chat"

    @property
    def encoding(self) -> str:
        return self.parts[0].result.encoding if self.parts else ""

    def counted(self, name: str) -> Counter[str]:
        """One of the counts of the parts, summed."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(getattr(part.result, name))
        return total

    def offsets(self) -> Iterator[tuple[Part, int]]:
        """Each part with the number of rows before it."""
        rows = 0
        for part in self.parts:
            yield part, rows
            rows += part.result.rows_read

    def slices(self, name: str) -> list[Slice]:
        """What the parts left in the files of this name (sink.py)."""
        return [part.slice(name) for part in self.parts]

    def line_of(self, kept: int) -> int:
        """The line of a kept row."""
        part = bisect_right(self._starts, kept) - 1
        return int(self._lines[part][kept - self._starts[part]])

    def kept_at(self, line: int) -> int:
        """The number of the first kept row that starts on this line or after it."""
        for start, lines in zip(self._starts, self._lines, strict=False):
            if len(lines) and lines[-1] >= line:
                return start + int(np.searchsorted(lines, line))
        return self.rows_kept

    def row_of(self, kept: int) -> int:
        """The number of a record among all records, from its number among the kept ones."""
        return kept + int(np.searchsorted(self._kept_before_dropped, kept, side="right"))

    @cached_property
    def _lines(self) -> list[Any]:
        return [numbers(part) for part in self.slices(LINES)]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(part.result.rows_kept for part in self.parts)]

    @cached_property
    def _kept_before_dropped(self) -> Any:
        dropped = _joined(numbers(part.slice(DROPPED)) + rows for part, rows in self.offsets())
        return dropped - np.arange(len(dropped), dtype=np.uint64)

    def problems(self) -> Iterator[Problem]:
        """Every problem of the file, those of the whole file first, then in the order of rows."""
        name, seen = self.source.name, set()
        for code, message in self.notes:
            yield Problem(name, None, None, code, message, CAUSES[code].severity)
        for part, rows in self.offsets():
            for spooled in spooled_problems(part.slice(PROBLEMS)):
                if spooled.row is None or spooled.line is None:
                    if (spooled.code, spooled.message) not in seen:  # each part says it again
                        seen.add((spooled.code, spooled.message))
                        yield _problem(name, spooled, None, None)
                else:
                    yield _problem(name, spooled, spooled.line, spooled.row + rows)


def _problem(name: str, spooled: Any, line: int | None, row: int | None) -> Problem:
    return Problem(name, line, row, spooled.code, spooled.message, spooled.severity)


def _joined(arrays: Iterable[Any]) -> Any:
    listed = list(arrays)
    if len(listed) == 1:
        return listed[0]
    return np.concatenate(listed) if listed else np.empty(0, dtype="<u8")


class Places:
    """Where each kept row of several files stood; rows are numbered through all files."""

    def __init__(self, files: Sequence[ReadFile]) -> None:
        self._files = files
        self._starts = [0]
        for file in files:
            self._starts.append(self._starts[-1] + file.rows_kept)

    def of(self, row: int) -> tuple[int, int, int]:
        """Index of the file, line, and number of the record in its file."""
        index = bisect_right(self._starts, row) - 1
        kept = row - self._starts[index]
        return index, self._files[index].line_of(kept), self._files[index].row_of(kept)

    def row_at(self, index: int, line: int) -> int:
        """The number of the first record that was kept from this line of a file."""
        return self._files[index].row_of(self._files[index].kept_at(line))


@dataclass
class Tally:
    """Problems as they pass by: counts, those of whole files, the first of each code."""

    groups: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    first: dict[tuple[str, Severity], Problem] = field(default_factory=dict)
    files: Counter[tuple[str, Severity]] = field(default_factory=Counter)

    @property
    def counts(self) -> dict[str, int]:
        """Problems by code."""
        total: Counter[str] = Counter()
        for (code, _), count in self.groups.items():
            total[code] += count
        return dict(total)

    def watch(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        for problem in problems:
            key = (problem.code, problem.severity)
            self.groups[key] += 1
            self.files[key] += problem.row is None
            self.first.setdefault(key, problem)
            yield problem


def in_order(files: Sequence[ReadFile], late: Sequence[Iterable[Problem]]) -> Iterator[Problem]:
    """The problems of all files, and those that later checks found, in the order of files and rows.

    Each stream of `late` is in that order already.
    """
    place = {file.source.name: index for index, file in enumerate(files)}

    def key(problem: Problem) -> tuple[int, int]:
        return place.get(problem.file, len(files)), -1 if problem.row is None else problem.row

    structural = (problem for file in files for problem in file.problems())
    return heapq.merge(structural, *late, key=key)


def write_report(
    path: Path,
    head: dict[str, Any],
    problems: Iterable[Problem],
    tail: Callable[[], dict[str, Any]],
) -> None:
    """The report as JSON, written row by row: `head`, the problems, then what `tail` gives."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        file.write(encode(head)[:-1] + b',"problems":[')
        separator = b"\n"
        for problem in problems:
            file.write(separator + encode(problem))
            separator = b",\n"
        rest = encode(tail())
        file.write(b"\n]" + (b"," + rest[1:] if len(rest) > 2 else rest[1:]) + b"\n")


def file_notes(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    """Repairs that concern the whole file, each said once with its count."""
    renamed: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    untrained: Counter[str] = Counter()
    for part in parts:
        renamed.update(part.result.renamed)
        labels.update(part.result.labels)
        untrained.update(part.result.untrained)
    notes = []
    kinds = (
        ("role_renamed", "read as", renamed, "turn"),
        ("label_read", "read as", labels, "row"),
        ("answers_untrained", "read, not trained", untrained, "answer"),
    )
    for code, done, found, what in kinds:
        if found:
            most = found.most_common(8)
            listed = ", ".join(f"{_once(name)} ({counted(count, what)})" for name, count in most)
            notes.append((code, f"{done}: {listed}"))
    return tuple(notes)


def _once(name: str) -> str:
    """`gpt -> assistant`; a role that the format merely does not use by itself is named once."""
    written, _, meant = name.partition(" -> ")
    return written if written == meant else name
