"""What passes over files (or ranges of them) leave on disk, written as it comes.

rows.jsonl      canonical rows                rejected.jsonl  dropped rows, as they were
lines.u64       line of each kept row         problems.jsonl  one array for each problem
hashes.u64      xxh3 of each canonical row    dropped.u64     number of each dropped record

Many small files share these: each pass says which slice is its own.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.dataset.recognise.asking.unread import Column
from fine_tuning.values.data import Severity

ROWS, LINES, HASHES = "rows.jsonl", "lines.u64", "hashes.u64"
REJECTED, PROBLEMS, DROPPED = "rejected.jsonl", "problems.jsonl", "dropped.u64"
FILES = (ROWS, LINES, HASHES, REJECTED, PROBLEMS, DROPPED)

_encode = msgspec.json.Encoder().encode
_digest = xxhash.xxh3_64_intdigest


class Spooled(msgspec.Struct, array_like=True, gc=False):
    """A problem as it waits on disk; `row` counts from the start of its part."""

    line: int | None
    row: int | None
    code: str
    message: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` (included) to `end` (excluded) of a file."""

    path: Path
    start: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all bytes of the file."""
        return self.start == 0 and self.path.stat().st_size == self.end


class PartResult(msgspec.Struct, kw_only=True):
    """The counts of one finished pass, and where in the files its own bytes lie."""

    rows_read: int = 0
    rows_kept: int = 0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    first: dict[str, Spooled] = msgspec.field(default_factory=dict)
    votes: list[tuple[list[str], int]] = msgspec.field(default_factory=list)
    renamed: dict[str, int] = msgspec.field(default_factory=dict)
    labels: dict[str, int] = msgspec.field(default_factory=dict)
    untrained: dict[str, int] = msgspec.field(default_factory=dict)
    unread: dict[str, Column] = msgspec.field(default_factory=dict)
    with_reasoning: int = 0
    rare_columns: list[str] = msgspec.field(default_factory=list)  # media, weight
    encoding: str = ""
    sha256: str = ""
    lines: int = 0
    slices: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)


class Sink:
    """Takes rows and problems in the order of the file, for one pass after the other. Use as a
    context manager: only after it is all on disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._open = ExitStack()
        files = [self._open.enter_context((folder / name).open("wb")) for name in FILES]
        self._rows, self._lines, self._hashes, self._rejected, self._problems, self._dropped = files
        self._files = dict(zip(FILES, files, strict=True))
        self._begin()
        # Writing waits for the disk without holding the interpreter: the next block is converted
        # meanwhile. One write at a time, so that memory stays bounded.
        self._writer = self._open.enter_context(ThreadPoolExecutor(1))
        self._writing: Future[int] | None = None

    def _begin(self) -> None:
        self.rows_read = 0
        self.rows_kept = 0
        self.counts: Counter[str] = Counter()
        self.first: dict[str, Spooled] = {}
        self._starts = {name: file.tell() for name, file in self._files.items()}

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _written(self) -> None:
        """Wait for the last write; a full disk is raised here."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def keep(self, rows: Sequence[bytes], lines: Iterable[int]) -> None:
        """Canonical rows (each without line end) and their lines."""
        if not rows:
            return
        joined = b"\n".join((*rows, b""))
        self._written()
        self._writing = self._writer.submit(self._rows.write, joined)
        array("Q", map(_digest, rows)).tofile(self._hashes)
        array("Q", lines).tofile(self._lines)
        self.rows_kept += len(rows)

    def reject(self, raw: bytes, row: int) -> None:
        """A dropped record, as it was, on one line."""
        self._rejected.write(raw.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        array("Q", (row,)).tofile(self._dropped)

    def problem(self, problem: Spooled) -> None:
        """One problem, counted and written down; a secret that its message quotes is masked."""
        problem.message = masked(problem.message)
        self.counts[problem.code] += 1
        self.first.setdefault(problem.code, problem)
        self._problems.write(_encode(problem) + b"\n")

    def finish(self, result: PartResult) -> PartResult:
        """The result with the counts and slices of this pass; the next one begins."""
        self._written()
        result.rows_read, result.rows_kept = self.rows_read, self.rows_kept
        result.counts, result.first = dict(self.counts), self.first
        ends = {name: file.tell() for name, file in self._files.items()}
        result.slices = {name: (self._starts[name], end) for name, end in ends.items()}
        self._begin()
        return result


def joined(slices: Iterable[Slice]) -> list[Slice]:
    """The same bytes, where one slice follows the other in its file as one."""
    found: list[Slice] = []
    for part in slices:
        if part.start == part.end:
            continue
        if found and (found[-1].path, found[-1].end) == (part.path, part.start):
            part = Slice(part.path, found.pop().start, part.end)
        found.append(part)
    return found


def lines_of(part: Slice) -> Iterator[bytes]:
    """The lines of a slice, each with its end."""
    left = part.end - part.start
    if not left:
        return
    with part.path.open("rb") as file:
        file.seek(part.start)
        while left:
            line = file.readline()
            left -= len(line)
            yield line


def spooled_problems(part: Slice) -> Iterator[Spooled]:
    """The problems of a pass, in the order of the file."""
    return map(msgspec.json.Decoder(Spooled).decode, lines_of(part))


def numbers(part: Slice) -> Any:
    """A slice of a `.u64` file as a numpy array, mapped from disk."""
    import numpy as np  # 0.1 s that a process which only reads need not pay

    count = (part.end - part.start) // 8
    if not count:  # an empty file cannot be mapped
        return np.empty(0, dtype="<u8")
    return np.memmap(part.path, dtype="<u8", mode="r", offset=part.start, shape=(count,))
