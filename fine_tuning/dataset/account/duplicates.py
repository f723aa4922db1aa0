"""Exact repeats among the kept rows, by the 64-bit hash of their canonical form.

The hashes lie on disk, in files; 8 bytes a row are held while they are sorted. Two different rows
share a hash with a probability of about 1e-7 among a million rows; nothing is dropped for it
unless asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fine_tuning.dataset.account.sink import Slice

CHUNK = 1 << 18
_HASH = np.dtype("<u8")


@dataclass(frozen=True)
class Repeats:
    """The hashes that occur more than once, and where all hashes are."""

    slices: Sequence[Slice]
    hashes: Any

    def rows(self) -> Iterator[tuple[int, int]]:
        """(row, the first row with the same content) for each repeat, in the order of the rows."""
        if not len(self.hashes):
            return
        first = np.full(len(self.hashes), -1, dtype=np.int64)
        start = 0
        for chunk in read_numbers(self.slices):
            place = np.minimum(np.searchsorted(self.hashes, chunk), len(self.hashes) - 1)
            for index in np.flatnonzero(self.hashes[place] == chunk).tolist():
                known = int(first[place[index]])
                if known < 0:
                    first[place[index]] = start + index
                else:
                    yield start + index, known
            start += len(chunk)


def find_repeats(slices: Sequence[Slice]) -> Repeats:
    """Which hashes of these files, one after the other, occur more than once."""
    rows = sum(part.end - part.start for part in slices) // _HASH.itemsize
    ordered = np.empty(rows, dtype=_HASH)
    at = 0
    for chunk in read_numbers(slices):
        ordered[at : at + len(chunk)] = chunk
        at += len(chunk)
    ordered.sort()
    found = []
    for start in range(0, rows, CHUNK):
        here = ordered[start : start + CHUNK + 1]
        found.append(here[1:][here[1:] == here[:-1]])
    return Repeats(slices, np.unique(np.concatenate(found)) if found else ordered)


def read_numbers(slices: Iterable[Slice]) -> Iterator[Any]:
    """The numbers in slices of `.u64` files, one slice after the other, in pieces."""
    for part in slices:
        with part.path.open("rb") as file:
            file.seek(part.start)
            left = (part.end - part.start) // _HASH.itemsize
            while left:
                chunk = np.fromfile(file, dtype=_HASH, count=min(left, CHUNK))
                left -= len(chunk)
                yield chunk
