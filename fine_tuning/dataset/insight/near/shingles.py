"""Texts as sets of hashed five-character pieces (shingles), many texts at a time.

Characters, not words, because Chinese and Japanese put no spaces between words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fine_tuning.dataset.insight.rows import Row

SHINGLE = 5  # characters
LONGEST = 100_000  # characters of a row that are looked at: bounds the memory of one huge row
SAMPLE = 1000  # rows that tell which shingles are boilerplate
ABSENT = np.uint32(0xFFFFFFFF)  # stands where no piece begins
_TOGETHER = 50  # of them at a time
_COMMON_SHARE = 0.2
_COMMON_ROWS = 20
_BITS = 20  # of the table of boilerplate shingles
_SPACE = ord(" ")
_CASED = 0x20000  # characters from here on have one case

# A piece is two overlapping numbers of four characters, a byte each; what is above ASCII counts by
# a factor for each place.
_FIRST, _LAST, _MIX = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
_HIGH = tuple(map(np.uint32, (0x27D4EB2F, 0x165667B1, 0xD6E8FEB9, 0x2545F491)))

Hashes = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
Counts = npt.NDArray[np.intp]
Boilerplate = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShingleBatch:
    """The pieces of several texts, one text behind the other.

    The next `spans[i]` hashes belong to text `i`. ABSENT stands where no piece begins, or one of
    boilerplate; `counts[i]` are left, of which some may be the same.
    """

    hashes: Hashes
    spans: Counts
    counts: Counts


def compared_texts(rows: Sequence[Row]) -> Codes:
    """What rows are compared by, as codes of characters, each text followed by a zero.

    Every turn, without system prompt and tools. Letter case and white space do not count.
    """
    texts = [*map(_whole, rows), ""]
    joined = "\0".join(texts)
    if not joined.isascii():
        joined = "\0".join([text.replace("\0", " ") for text in texts])
        wide = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
        return _with_single_spaces(np.where(wide < _CASED, _plain().take(wide, mode="clip"), wide))
    narrow = joined.encode("ascii").translate(_PLAIN_ASCII)
    if narrow.count(0) != len(rows):
        narrow = b"\0".join([text.replace("\0", " ").encode() for text in texts])
        narrow = narrow.translate(_PLAIN_ASCII)
    codes = np.frombuffer(narrow, np.uint8)
    return _with_single_spaces(codes) if b"  " in narrow else codes


def _whole(row: Row) -> str:
    """The turns and answers of a row, one below the other, and no more than can be looked at."""
    parts = [turn.value for turn in row.conversations]
    if row.chosen is not None:
        parts.append(row.chosen.value)
    if row.rejected is not None:
        parts.append(row.rejected.value)
    return "\n".join(parts)[:LONGEST].strip()


def _plain_code(code: int) -> int:
    """Lower case, and every white space a space."""
    return _SPACE if chr(code).isspace() else ord(chr(code).lower()[0])


_PLAIN_ASCII = bytes([*map(_plain_code, range(128)), *range(128, 256)])


@lru_cache(1)
def _plain() -> Hashes:
    return np.fromiter(map(_plain_code, range(_CASED)), np.uint32, _CASED)


def _with_single_spaces(codes: Codes) -> Codes:
    is_space = codes == _SPACE
    is_space[1:] &= is_space[:-1]  # ufuncs read what overlaps before they write it
    is_space[:1] = False
    single: Codes = codes[~is_space]
    return single


def compared_text(row: Row) -> Codes:
    """What one row is compared by."""
    return compared_texts([row])[:-1]


def shingle_hashes(codes: Codes) -> Hashes:
    """The 32-bit hash of the five characters that begin at each place, with zeros behind the end.

    Only the first `len(codes) - 4` are pieces of the text.
    """
    fours = _fours(codes)
    hashes: Hashes = fours[:-1] * _FIRST
    fours *= _LAST
    hashes += fours[1:]
    hashes ^= hashes >> np.uint32(15)
    hashes *= _MIX
    return hashes


def _fours(codes: Codes) -> Hashes:
    """The four characters that begin at each place, and one place behind the end, as a number."""
    count = len(codes) + 1
    if codes.dtype == np.uint8:
        return np.ndarray(count, "<u4", codes.tobytes() + bytes(4), strides=(1,)).copy()
    padded: Hashes = np.pad(codes.astype(np.uint32), (0, 4))
    high = padded >> np.uint32(7)
    fours = np.zeros(count, np.uint32)
    for place, factor in enumerate(_HIGH):
        fours += padded[place : place + count] << np.uint32(8 * place)
        fours += high[place : place + count] * factor
    return fours


def shingle_batch(codes: Codes, boilerplate: Boilerplate | None) -> ShingleBatch:
    """The pieces of texts that are each followed by a zero, without boilerplate and without those
    that span two texts."""
    ends = np.flatnonzero(codes == 0)
    spans = np.diff(ends, prepend=-1)
    hashes = shingle_hashes(codes)
    across = (ends - np.arange(SHINGLE)[:, None]).ravel()
    hashes[across[across >= 0]] = ABSENT
    if boilerplate is None:
        return ShingleBatch(hashes, spans, np.maximum(spans - SHINGLE, 0))
    hashes[boilerplate[hashes >> np.uint32(32 - _BITS)]] = ABSENT
    counts = np.add.reduceat(hashes != ABSENT, ends - spans + 1, dtype=np.intp)
    return ShingleBatch(hashes, spans, counts)


def shingle_set(codes: Codes, boilerplate: Boilerplate | None) -> Hashes:
    """The distinct shingles of one text, sorted, without boilerplate."""
    hashes = shingle_hashes(codes)[: max(0, len(codes) - SHINGLE + 1)]
    if boilerplate is not None:
        hashes = hashes[~boilerplate[hashes >> np.uint32(32 - _BITS)]]
    return sorted_distinct(hashes)


def sorted_distinct(hashes: Hashes) -> Hashes:
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


def learn_boilerplate(rows: Sequence[Row]) -> Boilerplate | None:
    """The shingles that over a fifth of the sampled rows share, as a table by their top bits;
    None if there are none.

    An instruction that every row repeats would make all rows near-duplicates of each other.
    """
    if len(rows) < _COMMON_ROWS / _COMMON_SHARE:
        return None
    distinct = [_distinct(rows[at : at + _TOGETHER]) for at in range(0, len(rows), _TOGETHER)]
    shingles, counts = np.unique(np.concatenate(distinct), return_counts=True)
    common = shingles[counts > _COMMON_SHARE * len(rows)]
    if not len(common):
        return None
    table = np.zeros(1 << _BITS, np.bool_)
    table[common >> np.uint32(32 - _BITS)] = True
    return table


def _distinct(rows: Sequence[Row]) -> Hashes:
    """The shingles of each row, once."""
    batch = shingle_batch(compared_texts(rows), None)
    numbers = np.repeat(np.arange(len(rows), dtype=np.uint64), batch.spans)
    numbers <<= np.uint64(32)
    numbers |= batch.hashes
    return np.unique(numbers[batch.hashes != ABSENT]).astype(np.uint32)
