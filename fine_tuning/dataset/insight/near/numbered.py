"""Rows of several files, numbered through: all of them once, and some again by their number."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fine_tuning.dataset.insight.rows import Row, decode_row, is_parquet, read_blocks


class NumberedRows:
    """Remembers eight bytes a row."""

    def __init__(self, paths: Sequence[Path], files: Sequence[BinaryIO]) -> None:
        """`files` are the same ones, open; all hold lines of JSON."""
        sizes = [path.stat().st_size for path in paths]
        self._paths, self._files = paths, files
        self._starts = [*accumulate(sizes, initial=0)]
        self._ends = array("Q", [0])

    @staticmethod
    @contextmanager
    def opened(sources: Sequence[Path], folder: Path) -> Iterator["NumberedRows"]:
        """The rows of the files; those in parquet are copied as lines into `folder` first."""
        with ExitStack() as stack:
            paths = [_as_lines(path, folder / f"{n}.jsonl") for n, path in enumerate(sources)]
            yield NumberedRows(paths, [stack.enter_context(path.open("rb")) for path in paths])

    def blocks(self, size: int) -> Iterator[bytes]:
        """The rows as lines of JSON, about `size` bytes of them at a time."""
        for path in self._paths:
            for block in read_blocks(path, size):
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
                ends += self._ends[-1] + 1
                self._ends.frombytes(ends.astype(np.uint64).tobytes())
                yield block

    def __getitem__(self, number: int) -> Row:
        """A row that `blocks` has passed."""
        start = self._ends[number]
        file = bisect_right(self._starts, start) - 1
        self._files[file].seek(start - self._starts[file])
        return decode_row(self._files[file].read(self._ends[number + 1] - start))


def _as_lines(path: Path, copy: Path) -> Path:
    if not is_parquet(path):
        return path
    with copy.open("wb") as file:
        file.writelines(read_blocks(path))
    return copy
