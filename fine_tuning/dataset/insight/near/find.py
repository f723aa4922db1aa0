"""Near-duplicate rows: sketches find candidates, their true similarity decides.

Rows with the same media are compared by the Jaccard similarity of their five-character shingles
(shingles.py): a hundred pictures may have one question, and one answer. Sketches (sketch.py) are
cut into bands; rows that agree in a band and whose sketches promise enough are compared for real
(Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3). Sketches lie on disk, and
rows are read again to be compared, so memory stays at a few dozen bytes a row.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from fine_tuning.dataset.insight.near import shingles
from fine_tuning.dataset.insight.near.groups import Groups, repeated
from fine_tuning.dataset.insight.near.numbered import NumberedRows
from fine_tuning.dataset.insight.near.sketch import sketches
from fine_tuning.dataset.insight.rows import (
    Ends,
    Row,
    decode_row,
    decode_rows,
    line_ends,
    read_blocks,
    sampled_lines,
)

THRESHOLD = 0.85  # true Jaccard similarity from which two rows are near-duplicates
DEFAULT_ROWS = 100_000  # looked for by default up to here
PAIRS_KEPT = 5_000  # pairs that are remembered one by one
FEWEST_SHINGLES = 16  # a shorter row is compared as a whole only
_PLACES, _BANDS = 72, 12  # finds 99.7% of the pairs at the threshold
_WIDTH = _PLACES // _BANDS
_PROMISING = round((THRESHOLD - 0.126) * _PLACES)  # three standard deviations below
_CENTRES = 4  # rows of a bucket that the others are compared with
_FACTORS = np.random.default_rng(1).integers(0, 1 << 63, _WIDTH, np.uint64) | np.uint64(1)

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two rows that are nearly the same, and their Jaccard similarity; `first < second`."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """Every row's cluster, and the pairs that were verified (at most PAIRS_KEPT of `found`).

    `clusters[i]` is the first row of the cluster that row `i` is in (itself, if it is alone).
    Rows that are equal byte for byte share a cluster and make no pair.
    """

    clusters: npt.NDArray[np.uint32]
    pairs: Sequence[NearPair]
    found: int


def clusters_path(rows_path: Path) -> Path:
    """Where the clusters of these rows are kept: one little-endian uint32 a row."""
    return rows_path.with_suffix(".clusters")


def read_clusters(rows_path: Path, rows: int) -> npt.NDArray[np.uint32] | None:
    """The clusters that were found in these rows, or None if nobody looked."""
    path = clusters_path(rows_path)
    if not path.exists() or path.stat().st_size != 4 * rows:
        return None
    return np.fromfile(path, "<u4")


def find_near_duplicates(sources: Sequence[Path], rows: int) -> NearDuplicates:
    """The near-duplicates among the rows of all sources, numbered through. Deterministic."""
    with searching(sources, rows) as search:
        for number, path in enumerate(sources):
            for block in read_blocks(path):
                search.add(number, block, line_ends(block), decode_rows(block))
        return search.found()


@contextmanager
def searching(sources: Sequence[Path], rows: int) -> Iterator["Search"]:
    """A search among so many rows of these sources, which are then given to it in their order."""
    with (
        tempfile.TemporaryDirectory(prefix="near-", dir=sources[0].parent) as folder,
        NumberedRows.opened(sources, Path(folder)) as numbered,
    ):
        # About SAMPLE rows, from all over the files; of fewer rows, all.
        sizes = [path.stat().st_size for path in sources]
        wanted = [
            None if rows <= shingles.SAMPLE else -(-shingles.SAMPLE * size // max(1, sum(sizes)))
            for size in sizes
        ]
        lines = chain.from_iterable(map(sampled_lines, sources, wanted))
        boilerplate = shingles.learn_boilerplate([decode_row(line) for line in lines])
        search = Search(_Sketched.empty(rows, Path(folder)), numbered, boilerplate)
        try:
            yield search
        finally:
            search.close()


class Search:
    """Rows come block by block, next to whatever else is done with them."""

    def __init__(
        self,
        sketched: "_Sketched",
        numbered: NumberedRows,
        boilerplate: shingles.Boilerplate | None,
    ) -> None:
        self._sketched = sketched
        self._numbered = numbered
        self._boilerplate = boilerplate
        self._done = 0

    def add(self, source: int, block: bytes, ends: Ends, rows: Sequence[Row]) -> None:
        """The next rows, also as their lines of JSON and where these end."""
        self._numbered.add(source, block, ends)
        self._sketched.set_keys(self._done, block, ends, rows)
        batch = shingles.shingle_batch(shingles.compared_texts(rows), self._boilerplate)
        self._sketched.set_sketches(self._done, batch)
        self._done += len(rows)

    def found(self) -> NearDuplicates:
        """What is nearly the same among all rows, once they were added."""
        sketched = self._sketched
        groups = Groups(len(sketched.contents))
        compared = np.flatnonzero(groups.join_equal(sketched.contents) & sketched.long_enough)
        matcher = _Matcher(sketched, self._numbered, self._boilerplate, groups)
        for band in range(_BANDS):
            for bucket in _buckets(sketched.band(band)[compared]):
                matcher.compare(compared[bucket])
        return NearDuplicates(groups.labels(), matcher.pairs, matcher.found)

    def close(self) -> None:
        """Lets go of the mapped file, which Windows does not remove before."""
        del self._sketched


@dataclass(frozen=True)
class _Sketched:
    """Per row: hash of the whole row, hash of its media (0: none), sketch (a column of the table),
    whether to compare."""

    contents: Keys
    media: Keys
    sketches: npt.NDArray[np.uint16]  # the lower halves: that they agree by chance is rare
    long_enough: npt.NDArray[np.bool_]

    @staticmethod
    def empty(rows: int, folder: Path) -> "_Sketched":
        shape = max(rows, 1)  # an empty file cannot be mapped
        return _Sketched(
            contents=np.zeros(rows, np.uint64),
            media=np.zeros(rows, np.uint64),
            # plain views: indexing a memmap object costs ten times as much
            sketches=np.asarray(
                np.memmap(folder / "sketches", "<u2", "w+", shape=(_PLACES, shape))
            ),
            long_enough=np.zeros(rows, np.bool_),
        )

    def set_keys(self, start: int, block: bytes, ends: Ends, rows: Sequence[Row]) -> None:
        """What rows hold, and the media beside it, from the number of the first and their lines."""
        lines, digest = memoryview(block), xxhash.xxh3_64_intdigest
        digests = [digest(lines[a:b]) for a, b in pairwise([0, *ends.tolist()])]
        self.contents[start : start + len(rows)] = np.fromiter(digests, np.uint64, len(rows))
        for number, row in enumerate(rows, start):
            if row.images or row.videos or row.audios:
                paths = "\0".join(row.media).encode("utf-8", "surrogatepass")
                self.media[number] = xxhash.xxh3_64_intdigest(paths)

    def set_sketches(self, start: int, batch: shingles.ShingleBatch) -> None:
        """Fills in rows, from the number of the first and their pieces."""
        rows = slice(start, start + len(batch.spans))
        self.sketches[:, rows] = sketches(batch, _PLACES).T
        self.long_enough[rows] = batch.counts >= FEWEST_SHINGLES

    def band(self, number: int) -> Keys:
        """The key of each row in a band; rows with other media have others."""
        first = number * _WIDTH
        keys = self.media.copy()
        for place, factor in zip(range(first, first + _WIDTH), _FACTORS, strict=True):
            keys += self.sketches[place, : len(keys)] * factor
        return keys


def _buckets(keys: Keys) -> Iterator[npt.NDArray[np.intp]]:
    """The positions of equal keys, ascending, wherever there are at least two."""
    places = repeated(keys)
    order = places[np.argsort(keys[places], kind="stable")]
    yield from np.split(order, np.flatnonzero(np.diff(keys[order])) + 1) if len(order) else ()


class _Matcher:
    """Compares the rows of a bucket with a few of its own, and joins those that are similar."""

    def __init__(
        self,
        sketched: _Sketched,
        rows: NumberedRows,
        boilerplate: shingles.Boilerplate | None,
        groups: Groups,
    ) -> None:
        self._sketches = sketched.sketches
        self._groups = groups
        self._refuted: set[tuple[int, int]] = set()
        self._shingles = lru_cache(maxsize=256)(
            lambda row: shingles.shingle_set(shingles.compared_text(rows[row]), boilerplate)
        )
        self.pairs: list[NearPair] = []
        self.found = 0

    def compare(self, bucket: npt.NDArray[np.intp]) -> None:
        rest: list[int] = bucket.tolist()
        for _ in range(_CENTRES):
            if len(rest) < 2:
                return
            rest = self._join_similar(rest[0], rest[1:])

    def _join_similar(self, centre: int, rows: list[int]) -> list[int]:
        """Joins those that are similar to the centre; gives the rows that stay apart from it."""
        find = self._groups.find
        own = find(centre)
        apart = [row for row in rows if find(row) != own]
        if not apart:
            return apart
        agreeing = self._sketches[:, apart] == self._sketches[:, centre, None]
        promising = np.count_nonzero(agreeing, axis=0) >= _PROMISING
        return [
            row
            for row, may_be in zip(apart, promising.tolist(), strict=True)
            if not (may_be and self._are_similar(centre, row))
        ]

    def _are_similar(self, first: int, second: int) -> bool:
        if (first, second) in self._refuted:
            return False
        similarity = shingles.jaccard(self._shingles(first), self._shingles(second))
        if similarity < THRESHOLD:
            self._refuted.add((first, second))
            return False
        self._groups.join(first, second)
        self.found += 1
        if len(self.pairs) < PAIRS_KEPT:
            self.pairs.append(NearPair(first, second, round(similarity, 3)))
        return True
