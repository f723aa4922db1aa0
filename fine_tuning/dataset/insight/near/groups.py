"""Rows that belong together (disjoint sets), in four bytes a row."""

from array import array

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
        _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
        first_of = firsts[inverse.reshape(-1)]
        rows = np.arange(len(keys))
        for row in np.flatnonzero(first_of != rows).tolist():
            self.join(row, int(first_of[row]))
        is_first: npt.NDArray[np.bool_] = first_of == rows
        return is_first

    def labels(self) -> npt.NDArray[np.uint32]:
        """The first row of every row's group."""
        return np.fromiter(map(self.find, range(len(self._parent))), "<u4", len(self._parent))
