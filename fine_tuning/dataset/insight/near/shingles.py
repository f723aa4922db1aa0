"""Texts as sets of hashed five-character pieces (shingles), many texts at a time.

Characters, not words, because Chinese and Japanese put no spaces between words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fine_tuning.dataset.insight.rows import Row

SHINGLE = 5  # characters
LONGEST = 100_000  # characters of a row that are looked at: bounds the memory of one huge row
_SAMPLE = 1000  # rows that tell which shingles are boilerplate
_COMMON_SHARE = 0.2
_COMMON_ROWS = 20
_BITS = 20  # of the table of boilerplate shingles

_P1, _P2, _P3 = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)

Hashes = npt.NDArray[np.uint32]
Boilerplate = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShingleBatch:
    """The shingles of text `i` are `hashes[starts[i]:starts[i + 1]]`."""

    hashes: Hashes
    starts: npt.NDArray[np.uint64]


def compared_text(row: Row) -> str:
    """What two rows are compared by: every turn, without system prompt and tools, normalised.

    Letter case and white space do not count.
    """
    parts = [turn.value for turn in row.conversations]
    for preferred in (row.chosen, row.rejected):
        if preferred is not None:
            parts.append(preferred.value)
    if sum(map(len, parts)) + len(parts) > LONGEST:
        return " ".join("\n".join(part[:LONGEST] for part in parts)[:LONGEST].lower().split())
    text = "\n".join(parts).strip().lower().replace("\n", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    # Of all white space only the space is printable: mostly there is no other, and that is faster.
    return text if text.isprintable() else " ".join(text.split())


def shingle_hashes(text: str) -> Hashes:
    """The 32-bit hash of every five-character piece of the text, in order."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    if len(codes) < SHINGLE:
        return np.empty(0, np.uint32)
    pairs = codes[:-1] * _P1
    pairs += codes[1:]
    fours = pairs[:-2] * _P2
    fours += pairs[2:]
    hashes: Hashes = fours[:-1] * _P3
    hashes += codes[4:]
    for shift, prime in ((15, _P2), (13, _P3)):  # the avalanche of xxHash32
        hashes ^= hashes >> np.uint32(shift)
        hashes *= prime
    hashes ^= hashes >> np.uint32(16)
    return hashes


def shingle_batch(texts: Sequence[str], boilerplate: Boilerplate | None) -> ShingleBatch:
    """The shingles of several texts, without boilerplate and without those that span two texts."""
    joined = shingle_hashes("".join(texts))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    wanted = np.ones(len(joined), np.bool_)
    for back in range(1, SHINGLE):  # these begin in one text and end in the next
        across = ends - back
        wanted[across[(across >= 0) & (across < len(joined))]] = False
    if boilerplate is not None:
        wanted &= ~boilerplate[joined >> np.uint32(32 - _BITS)]
    edges = np.minimum(np.concatenate(([0], ends)), len(joined))
    starts = edges - np.searchsorted(np.flatnonzero(~wanted), edges)
    return ShingleBatch(joined[wanted], starts.astype(np.uint64))


def shingle_set(text: str, boilerplate: Boilerplate | None) -> Hashes:
    """The distinct shingles of one text, sorted, without boilerplate."""
    hashes = shingle_hashes(text)
    if boilerplate is not None:
        hashes = hashes[~boilerplate[hashes >> np.uint32(32 - _BITS)]]
    return _sorted_distinct(hashes)


def _sorted_distinct(hashes: Hashes) -> Hashes:
    """As np.unique, which takes three times as long on a few hundred values."""
    hashes.sort()
    first = np.ones(len(hashes), np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes[first]


def jaccard(left: Hashes, right: Hashes) -> float:
    """Size of the intersection over size of the union of two sorted sets; 0 if both are empty."""
    both = np.concatenate((left, right))
    both.sort()
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    union = len(left) + len(right) - common
    return common / union if union else 0.0


def sample_stride(rows: int) -> int:
    """Every how many rows one is taken to learn the boilerplate from."""
    return max(1, -(-rows // _SAMPLE))


def learn_boilerplate(texts: Sequence[str]) -> Boilerplate | None:
    """The shingles that over a fifth of the sampled rows share, as a table by their top bits;
    None if there are none.

    An instruction that every row repeats would make all rows near-duplicates of each other.
    """
    if len(texts) < _COMMON_ROWS / _COMMON_SHARE:
        return None
    distinct = [shingle_set(text, None) for text in texts]
    shingles, counts = np.unique(np.concatenate(distinct), return_counts=True)
    common = shingles[counts > _COMMON_SHARE * len(texts)]
    if not len(common):
        return None
    table = np.zeros(1 << _BITS, np.bool_)
    table[common >> np.uint32(32 - _BITS)] = True
    return table
