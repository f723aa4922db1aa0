"""What one pass over a file (or a range of it) leaves on disk, written as it comes.

rows.jsonl      canonical rows                rejected.jsonl  dropped rows, as they were
lines.u64       line of each kept row         problems.jsonl  one array for each problem
hashes.u64      xxh3 of each canonical row    dropped.u64     number of each dropped record
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from fine_tuning.dataset.insight.sensitive import masked
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


class PartResult(msgspec.Struct, kw_only=True):
    """The counts of one finished pass."""

    rows_read: int = 0
    rows_kept: int = 0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    first: dict[str, Spooled] = msgspec.field(default_factory=dict)
    votes: list[tuple[list[str], int]] = msgspec.field(default_factory=list)
    renamed: dict[str, int] = msgspec.field(default_factory=dict)
    labels: dict[str, int] = msgspec.field(default_factory=dict)
    unused: dict[str, int] = msgspec.field(default_factory=dict)
    with_reasoning: int = 0
    rare_columns: list[str] = msgspec.field(default_factory=list)  # media, weight
    encoding: str = ""
    sha256: str = ""
    lines: int = 0


class Sink:
    """Takes rows and problems in the order of the file. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.rows_read = 0
        self.rows_kept = 0
        self.counts: Counter[str] = Counter()
        self.first: dict[str, Spooled] = {}
        self._open = ExitStack()
        files = [self._open.enter_context((folder / name).open("wb")) for name in FILES]
        self._rows, self._lines, self._hashes, self._rejected, self._problems, self._dropped = files
        # Writing waits for the disk without holding the interpreter: the next block is converted
        # meanwhile. One write at a time, so that memory stays bounded.
        self._writer = self._open.enter_context(ThreadPoolExecutor(1))
        self._writing: Future[int] | None = None

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
        """Closes everything; gives the result with the counts of this pass."""
        self._written()
        self._open.close()
        result.rows_read, result.rows_kept = self.rows_read, self.rows_kept
        result.counts, result.first = dict(self.counts), self.first
        return result


def spooled_problems(folder: Path) -> Iterator[Spooled]:
    """The problems of a pass, in the order of the file."""
    decode = msgspec.json.Decoder(Spooled).decode
    with (folder / PROBLEMS).open("rb") as file:
        for line in file:
            yield decode(line)


def numbers(folder: Path, name: str) -> Any:
    """One of the `.u64` files as a numpy array, mapped from disk."""
    import numpy as np  # 0.1 s that a process which only reads need not pay

    path = folder / name
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, dtype="<u8")
    return np.memmap(path, dtype="<u8", mode="r")
