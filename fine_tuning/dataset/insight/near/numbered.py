"""Rows that were passed once, and some of them again by their number."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fine_tuning.dataset.insight.rows import Ends, Row, decode_row, is_parquet


class NumberedRows:
    """Rows of several files, numbered through; eight bytes a row are remembered."""

    def __init__(self, files: Sequence[tuple[BinaryIO, bool]]) -> None:
        """For each source the file of its rows as lines, and whether they are to be kept there."""
        self._files = files
        self._first = [0]  # row of each source that was begun
        self._ends = [array("Q", [0])]  # of its lines

    @staticmethod
    @contextmanager
    def opened(sources: Sequence[Path], folder: Path) -> Iterator["NumberedRows"]:
        """JSON Lines are read again where they lie; rows of parquet are kept in `folder`."""
        with ExitStack() as stack:
            files = [
                (stack.enter_context((folder / f"{number}.jsonl").open("w+b")), True)
                if is_parquet(path)
                else (stack.enter_context(path.open("rb")), False)
                for number, path in enumerate(sources)
            ]
            yield NumberedRows(files)

    def add(self, source: int, block: bytes, line_ends: Ends) -> None:
        """The next rows, as lines of JSON; sources come one after the other."""
        while len(self._ends) <= source:
            self._first.append(self._first[-1] + len(self._ends[-1]) - 1)
            self._ends.append(array("Q", [0]))
        ends = self._ends[source]
        ends.frombytes((line_ends + ends[-1]).astype(np.uint64).tobytes())
        file, is_kept_here = self._files[source]
        if is_kept_here:
            file.write(block)

    def __getitem__(self, number: int) -> Row:
        source = bisect_right(self._first, number) - 1
        file, ends = self._files[source][0], self._ends[source]
        place = number - self._first[source]
        file.seek(ends[place])
        return decode_row(file.read(ends[place + 1] - ends[place]))
