"""Which rows deserve a close look: one regular expression over many raw rows at once.

RE2 (in pyarrow) goes over the bytes of a row once, in linear time and without the interpreter's
lock, and finds nothing in most rows; only the others meet the rules of sensitive.py and content.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as compute

from fine_tuning.dataset.insight import content, sensitive
from fine_tuning.dataset.insight.ahead import in_a_thread
from fine_tuning.dataset.insight.rows import read_blocks

_PATTERN = f"{sensitive.SUSPECT}|{content.SUSPECT}"


@dataclass(frozen=True)
class Block:
    """Raw rows, one a line, and which of them are suspect, ascending."""

    data: bytes
    ends: npt.NDArray[np.int32]  # of the lines, behind their line ends
    suspects: list[int]

    def line(self, index: int) -> bytes:
        """One row, without the end of line."""
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index] - 1]


def suspect_blocks(path: Path) -> Iterator[Block]:
    """All rows of the file, block by block."""
    return in_a_thread(find_suspects, read_blocks(path))


def find_suspects(data: bytes) -> Block:
    """The rows in which a rule of sensitive.py or content.py may find what is rare."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int32) + 1
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(data)]
    lines = pyarrow.Array.from_buffers(pyarrow.string(), len(ends), buffers)
    found = compute.match_substring_regex(lines, pattern=_PATTERN)
    return Block(data, ends, compute.indices_nonzero(found).to_pylist())
