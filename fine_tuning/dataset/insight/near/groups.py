"""Rows that belong together (disjoint sets), in four bytes a row."""

from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


class Groups:
    """Union-find over row numbers; a group is named by its first row.

    Tarjan, "Efficiency of a good but not linear set union algorithm" (1975), with path halving.
    """

    def __init__(self, rows: int) -> None:
        self._parent = array("I", range(rows))

    def find(self, row: int) -> int:
        """The first row of the group that this row is in."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, left: int, right: int) -> None:
        """Puts the groups of two rows together."""
        left, right = self.find(left), self.find(right)
        if left != right:
            self._parent[max(left, right)] = min(left, right)

    def join_equal(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Joins all rows with the same key; True where a row is the first with its key."""
        is_first = np.ones(len(keys), np.bool_)
        for before, row in equal_neighbours(keys):
            self.join(before, row)
            is_first[row] = False
        return is_first

    def labels(self) -> npt.NDArray[np.uint32]:
        """The first row of every row's group."""
        labels = np.array(self._parent, "<u4")
        while not np.array_equal(higher := labels[labels], labels):
            labels = higher
        return labels


def equal_neighbours(keys: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Each row whose key an earlier row has, with the last such row before it."""
    rows = repeated(keys)
    order = rows[np.argsort(keys[rows], kind="stable")]
    sorted_keys = keys[order]
    for place in np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1]):
        yield int(order[place]), int(order[place + 1])


def repeated(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """The places of keys that stand more than once, ascending; mostly few, and sorting values is
    several times as fast as sorting places."""
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(keys, twice))
