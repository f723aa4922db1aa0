"""Exact repeats among the kept rows, by the 64-bit hash of their canonical form.

At most 16 bytes a row are held: the hashes, and a sorted copy. Two different rows share a hash
with a probability of about 1e-7 among a million rows; nothing is dropped for it unless asked.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

CHUNK = 1 << 20


def repeat_mask(hashes: Any) -> Any:
    """For each row whether an earlier one has the same content."""
    mask = np.zeros(len(hashes), dtype=np.bool_)
    for row, _ in repeated_rows(hashes):
        mask[row] = True
    return mask


def repeated_rows(hashes: Any) -> Iterator[tuple[int, int]]:
    """(row, the first row with the same content) for each repeat, in the order of the rows."""
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(repeated):
        return
    first = np.full(len(repeated), -1, dtype=np.int64)
    for start in range(0, len(hashes), CHUNK):
        chunk = hashes[start : start + CHUNK]
        place = np.minimum(np.searchsorted(repeated, chunk), len(repeated) - 1)
        for index in np.flatnonzero(repeated[place] == chunk).tolist():
            known = int(first[place[index]])
            if known < 0:
                first[place[index]] = start + index
            else:
                yield start + index, known
