"""Near-duplicate rows: MinHash finds candidates, their true similarity decides.

Rows with the same media are compared by the Jaccard similarity of their five-character shingles
(shingles.py): a hundred pictures may have one question, and one answer. MinHash
signatures (rensa) are cut into bands; rows that agree in a band and whose signatures promise
enough are compared for real (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3).
Signatures and texts lie on disk, so memory stays at a few dozen bytes a row.
"""

import struct
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import accumulate, chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash
from rensa import RMinHash

from fine_tuning.dataset.insight.ahead import in_a_thread
from fine_tuning.dataset.insight.near import shingles
from fine_tuning.dataset.insight.near.groups import Groups
from fine_tuning.dataset.insight.rows import (
    decode_row,
    decode_rows,
    read_blocks,
    sampled_lines,
)

THRESHOLD = 0.85  # true Jaccard similarity from which two rows are near-duplicates
DEFAULT_ROWS = 100_000  # looked for by default up to here
PAIRS_KEPT = 5_000  # pairs that are remembered one by one
FEWEST_SHINGLES = 16  # a shorter row is compared as a whole only
_PERMUTATIONS, _BANDS = 72, 12  # finds 99.7% of the pairs at the threshold
_PAIRS = _PERMUTATIONS // _BANDS // 2  # of values, each read as one of 64 bits, in a band
_PROMISING = round((THRESHOLD - 0.126) * _PERMUTATIONS)  # three standard deviations below
_BATCH = 1 << 16  # bytes of rows that are signed together: they stay in the processor's cache
_SIGNATURE = struct.Struct(f"{_PERMUTATIONS}I")
_CENTRES = 4  # rows of a bucket that the others are compared with
_SEED = 1

Progress = Callable[[str, int, int], None]
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


def find_near_duplicates(
    sources: Sequence[Path], rows: int, *, progress: Progress | None = None
) -> NearDuplicates:
    """The near-duplicates among the rows of all sources, numbered through. Deterministic."""
    with tempfile.TemporaryDirectory(prefix="near-", dir=sources[0].parent) as folder:
        return _find(sources, rows, Path(folder), progress)


def _find(
    sources: Sequence[Path], rows: int, folder: Path, progress: Progress | None
) -> NearDuplicates:
    """The work itself: every file in the folder is closed when it returns, as Windows demands."""
    boilerplate = shingles.learn_boilerplate(_sampled_texts(sources, rows))
    with (folder / "texts").open("w+b") as spool:
        texts = _TextStore(spool)
        signed = _Signed.empty(rows, folder)
        sign = partial(signed.sign, boilerplate=boilerplate)
        for done in in_a_thread(sign, _batches(sources, texts, signed)):
            if progress:
                progress("near-duplicates", done, rows)
        return _match(signed, texts, boilerplate)


def _sampled_texts(sources: Sequence[Path], rows: int) -> list[bytes]:
    """The compared texts of about SAMPLE rows, from all over the files; of fewer rows, all."""
    sizes = [path.stat().st_size for path in sources]
    wanted = [
        None if rows <= shingles.SAMPLE else -(-shingles.SAMPLE * size // max(1, sum(sizes)))
        for size in sizes
    ]
    lines = chain.from_iterable(map(sampled_lines, sources, wanted))
    return shingles.compared_texts([decode_row(line) for line in lines])


class _TextStore:
    """Texts on disk, fetched by number when a candidate is verified."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ends = array("Q", [0])

    def append(self, texts: Sequence[bytes]) -> None:
        self._ends.extend(accumulate(map(len, texts), initial=self._ends.pop()))
        self._file.write(b"".join(texts))

    def __getitem__(self, number: int) -> bytes:
        self._file.seek(self._ends[number])
        return self._file.read(self._ends[number + 1] - self._ends[number])


def _batches(
    sources: Sequence[Path], texts: _TextStore, signed: "_Signed"
) -> Iterator[tuple[int, list[bytes]]]:
    """The compared texts in small batches, each with the number of its first row."""
    start = 0
    for block in chain.from_iterable(read_blocks(path, _BATCH) for path in sources):
        rows = decode_rows(block)
        digests = map(xxhash.xxh3_64_intdigest, block.split(b"\n")[:-1])
        signed.contents[start : start + len(rows)] = np.fromiter(digests, np.uint64, len(rows))
        for number, row in enumerate(rows, start):
            if row.images or row.videos or row.audios:
                paths = "\0".join(row.media).encode("utf-8", "surrogatepass")
                signed.media[number] = xxhash.xxh3_64_intdigest(paths)
        batch = shingles.compared_texts(rows)
        texts.append(batch)
        yield start, batch
        start += len(rows)


@dataclass(frozen=True)
class _Signed:
    """Per row: hash of the whole row, hash of its media (0: none), MinHash signature, key of each
    band (rows with other media have others), whether to compare."""

    contents: Keys
    media: Keys
    signatures: npt.NDArray[np.uint16]  # the lower halves: that they agree by chance is rare
    bands: Keys
    long_enough: npt.NDArray[np.bool_]
    multipliers: Keys = field(
        default_factory=lambda: (
            np.random.default_rng(_SEED).integers(0, 1 << 63, _PAIRS, np.uint64) * np.uint64(2)
            + np.uint64(1)
        )
    )

    @staticmethod
    def empty(rows: int, folder: Path) -> "_Signed":
        shape = max(rows, 1)  # an empty file cannot be mapped
        return _Signed(
            contents=np.zeros(rows, np.uint64),
            media=np.zeros(rows, np.uint64),
            # plain views: indexing a memmap object costs ten times as much
            signatures=np.asarray(
                np.memmap(folder / "signatures", "<u2", "w+", shape=(shape, _PERMUTATIONS))
            ),
            bands=np.asarray(np.memmap(folder / "bands", "<u8", "w+", shape=(shape, _BANDS))),
            long_enough=np.zeros(rows, np.bool_),
        )

    def sign(
        self, numbered: tuple[int, Sequence[bytes]], boilerplate: shingles.Boilerplate | None
    ) -> int:
        """Fills in rows, from the number of the first and their texts; gives the next number."""
        start, texts = numbered
        batch = shingles.shingle_batch(texts, boilerplate)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            batch.hashes, batch.starts, _PERMUTATIONS, _SEED
        )
        packed = b"".join([_SIGNATURE.pack(*row) for row in matrix.to_rows()])
        signatures = np.frombuffer(packed, np.uint32).reshape(-1, _PERMUTATIONS)
        rows = slice(start, start + len(texts))
        by_band = signatures.view(np.uint64).reshape(len(signatures), _BANDS, _PAIRS)
        self.signatures[rows] = signatures
        self.bands[rows] = (by_band * self.multipliers).sum(axis=2) + self.media[rows, None]
        self.long_enough[rows] = batch.counts >= FEWEST_SHINGLES
        return rows.stop


def _match(
    signed: _Signed, texts: _TextStore, boilerplate: shingles.Boilerplate | None
) -> NearDuplicates:
    groups = Groups(len(signed.contents))
    compared = np.flatnonzero(groups.join_equal(signed.contents) & signed.long_enough)
    matcher = _Matcher(signed, texts, boilerplate, groups)
    for band in range(_BANDS):
        for bucket in _buckets(signed.bands[compared, band]):
            matcher.compare(compared[bucket])
    return NearDuplicates(groups.labels(), matcher.pairs, matcher.found)


def _buckets(keys: Keys) -> Iterator[npt.NDArray[np.intp]]:
    """The positions of equal keys, ascending, wherever there are at least two."""
    order = np.argsort(keys)
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(keys)]))
    for index in np.flatnonzero(ends - starts > 1):
        yield np.sort(order[starts[index] : ends[index]])


class _Matcher:
    """Compares the rows of a bucket with a few of its own, and joins those that are similar."""

    def __init__(
        self,
        signed: _Signed,
        texts: _TextStore,
        boilerplate: shingles.Boilerplate | None,
        groups: Groups,
    ) -> None:
        self._signatures = signed.signatures
        self._groups = groups
        self._refuted: set[tuple[int, int]] = set()
        self._shingles = lru_cache(maxsize=256)(
            lambda row: shingles.shingle_set(texts[row], boilerplate)
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
        agreeing = self._signatures[apart] == self._signatures[centre]
        promising = np.count_nonzero(agreeing, axis=1) >= _PROMISING
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
