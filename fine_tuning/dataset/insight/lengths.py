"""How long texts are, in memory that does not grow with the number of texts."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99)
_POWERS = 10 ** np.arange(16)
_TOGETHER = 256  # arrays


@dataclass(frozen=True)
class Bin:
    """How many texts have at least `least` and at most `most` characters."""

    least: int
    most: int
    rows: int


@dataclass(frozen=True)
class LengthDistribution:
    """Lengths in characters; percentiles above 1,000 are exact to three digits."""

    rows: int
    longest: int
    mean: float
    percentiles: dict[str, int]
    histogram: tuple[Bin, ...]


class Lengths:
    """Collects lengths: exact below 1,000, to three digits above (some thousand counters)."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0
        self._longest = 0
        self._waiting: list[npt.NDArray[np.int64]] = []

    def add(self, lengths: npt.NDArray[np.int64]) -> None:
        """Counts some more; a few hundred at a time are not worth the sorting."""
        self._waiting.append(lengths)
        if len(self._waiting) >= _TOGETHER:
            self._count()

    def _count(self) -> None:
        lengths = np.concatenate(self._waiting or [np.empty(0, np.int64)])
        self._waiting.clear()
        self._total += int(lengths.sum())
        self._longest = max(self._longest, int(lengths.max(initial=0)))
        digits = np.searchsorted(_POWERS, lengths, side="right")
        steps = _POWERS[np.maximum(digits - 3, 0)]
        rounded, counts = np.unique(lengths - lengths % steps, return_counts=True)
        for length, count in zip(rounded.tolist(), counts.tolist(), strict=True):
            self._counts[length] += count

    def distribution(self) -> LengthDistribution:
        """What was collected: range, mean, percentiles, and a histogram in powers of two."""
        self._count()
        rows = self._counts.total()
        lengths = sorted(self._counts)
        if not rows:
            return LengthDistribution(0, 0, 0.0, {}, ())
        bins: Counter[int] = Counter()
        for length in lengths:
            bins[length.bit_length()] += self._counts[length]
        return LengthDistribution(
            rows=rows,
            longest=self._longest,
            mean=round(self._total / rows, 1),
            percentiles=self._percentiles(lengths, rows),
            histogram=tuple(
                Bin((1 << bits) >> 1, (1 << bits) - 1, bins[bits])
                for bits in range(min(bins), max(bins) + 1)
            ),
        )

    def _percentiles(self, lengths: list[int], rows: int) -> dict[str, int]:
        found: dict[str, int] = {}
        seen = 0
        wanted = list(PERCENTILES)
        for length in lengths:
            seen += self._counts[length]
            while wanted and seen * 100 >= wanted[0] * rows:
                found[f"p{wanted.pop(0)}"] = length
        return found
