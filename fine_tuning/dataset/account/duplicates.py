"""Exact repeats among the kept rows, by the 64-bit hash of their canonical form.

The hashes lie on disk, in files; 8 bytes a row are held while they are sorted. Two different rows
share a hash with a probability of about 1e-7 among a million rows; nothing is dropped for it
unless asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 1 << 18
_HASH = np.dtype("<u8")


@dataclass(frozen=True)
class Repeats:
    """The hashes that occur more than once, and where all hashes are."""

    paths: Sequence[Path]
    hashes: Any

    def rows(self) -> Iterator[tuple[int, int]]:
        """(row, the first row with the same content) for each repeat, in the order of the rows."""
        if not len(self.hashes):
            return
        first = np.full(len(self.hashes), -1, dtype=np.int64)
        start = 0
        for chunk in read_numbers(self.paths):
            place = np.minimum(np.searchsorted(self.hashes, chunk), len(self.hashes) - 1)
            for index in np.flatnonzero(self.hashes[place] == chunk).tolist():
                known = int(first[place[index]])
                if known < 0:
                    first[place[index]] = start + index
                else:
                    yield start + index, known
            start += len(chunk)


def find_repeats(paths: Sequence[Path]) -> Repeats:
    """Which hashes of these files, one after the other, occur more than once."""
    rows = sum(path.stat().st_size for path in paths) // _HASH.itemsize
    ordered = np.empty(rows, dtype=_HASH)
    at = 0
    for chunk in read_numbers(paths):
        ordered[at : at + len(chunk)] = chunk
        at += len(chunk)
    ordered.sort()
    found = []
    for start in range(0, rows, CHUNK):
        here = ordered[start : start + CHUNK + 1]
        found.append(here[1:][here[1:] == here[:-1]])
    return Repeats(paths, np.unique(np.concatenate(found)) if found else ordered)


def read_numbers(paths: Sequence[Path]) -> Iterator[Any]:
    """The numbers in `.u64` files, one file after the other, in pieces."""
    for path in paths:
        with path.open("rb") as file:
            while len(chunk := np.fromfile(file, dtype=_HASH, count=CHUNK)):
                yield chunk
