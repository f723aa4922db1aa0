"""Which rows deserve a close look: regular expressions over many raw rows at once.

Hyperscan goes over the bytes once, several times as fast as RE2, and finds nothing in most rows;
only the others meet the rules of sensitive.py and content.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import hyperscan
import numpy as np

from fine_tuning.dataset.insight import content, sensitive
from fine_tuning.dataset.insight.rows import Ends, line_ends


@dataclass(frozen=True)
class Block:
    """Raw rows, one a line, and which of them are suspect, ascending."""

    data: bytes
    ends: Ends  # of the lines, behind their line ends
    suspects: list[int]

    def line(self, index: int) -> bytes:
        """One row, without the end of line."""
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index] - 1]


def find_suspects(data: bytes) -> Block:
    """The rows in which a rule of sensitive.py or content.py may find what is rare."""
    ends = line_ends(data)
    return Block(data, ends, list(_matching(data, ends)))


def _matching(data: bytes, ends: Ends) -> Iterator[int]:
    """The lines in which an expression matches. No expression matches a line end."""
    first_match = _scanner()
    rest, start = memoryview(data), 0
    while start < len(data):
        at = first_match(rest[start:])
        if at is None:
            return
        line = int(np.searchsorted(ends, start + at, "left"))
        yield line
        start = int(ends[line])


@lru_cache(1)
def _scanner() -> Callable[[memoryview], int | None]:
    """Gives where the first match in some bytes ends, or None. For one thread."""
    patterns = [pattern.encode() for pattern in (sensitive.SUSPECT, content.SUSPECT)]
    database: Any = hyperscan.Database()
    database.compile(
        expressions=patterns, ids=[*range(len(patterns))], elements=len(patterns), flags=0
    )
    ended: list[int] = []

    def stop(number: int, start: int, end: int, flags: int, context: object) -> bool:
        ended.append(end)
        return True

    def first_match(data: memoryview) -> int | None:
        ended.clear()
        try:
            database.scan(data, match_event_handler=stop)
        except hyperscan.ScanTerminated:
            return ended[0]
        return None

    return first_match
