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
SAMPLE = 1000  # rows that tell which shingles are boilerplate
_COMMON_SHARE = 0.2
_COMMON_ROWS = 20
_BITS = 20  # of the table of boilerplate shingles

_TOP32 = np.uint64(32)
_ASCII_PIECE = np.uint64((1 << 8 * SHINGLE) - 1)  # its bytes, as one number
_MIX = np.uint64(0x9E3779B97F4A7C15)
# What the higher bits of each of the five characters count for; ASCII has none.
_HIGH = tuple(
    np.uint64(prime)
    for prime in (0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                  0x27D4EB2F165667C5, 0xD6E8FEB86659FD93)
)  # fmt: skip

Hashes = npt.NDArray[np.uint64]  # of 32 bits each
Boilerplate = npt.NDArray[np.bool_]

# Lower case, and every white space a space, as str.lower and str.split have it; NUL parts texts.
_PLAIN = bytes(
    (0 if code == 0 else 32 if chr(code).isspace() else ord(chr(code).lower()))
    if code < 128
    else code
    for code in range(256)
)


@dataclass(frozen=True)
class ShingleBatch:
    """The shingles of text `i` are `hashes[starts[i]:starts[i + 1]]`; some may stand twice.

    `counts[i]` is how many pieces the text has, boilerplate left out. Of a text without pieces the
    hashes mean nothing.
    """

    hashes: Hashes
    starts: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]


def compared_text(row: Row) -> str:
    """What two rows are compared by: every turn, without system prompt and tools, normalised.

    Letter case and white space do not count.
    """
    return " ".join(_whole(row).lower().split())


def compared_texts(rows: Sequence[Row]) -> list[bytes]:
    """As `compared_text` of each row, in UTF-8; ASCII is normalised for all rows at once."""
    texts = [_whole(row) for row in rows]
    joined = "\0".join(texts)
    if not joined.isascii() or joined.count("\0") != len(texts) - 1:
        return [" ".join(text.lower().split()).encode("utf-8", "surrogatepass") for text in texts]
    plain = joined.encode("ascii").translate(_PLAIN)
    if b"  " in plain:  # bytes.replace takes several times as long
        codes = np.frombuffer(plain, np.uint8)
        is_space = codes == ord(" ")
        plain = codes[~(is_space & np.roll(is_space, 1))].tobytes()
    return [text.strip(b" ") for text in plain.split(b"\0")]


def _whole(row: Row) -> str:
    """The turns and answers of a row, one below the other, and no more than can be looked at."""
    parts = [turn.value for turn in row.conversations]
    for preferred in (row.chosen, row.rejected):
        if preferred is not None:
            parts.append(preferred.value)
    whole = "\n".join(parts)
    return whole if len(whole) <= LONGEST else whole[:LONGEST]


def shingle_hashes(text: bytes) -> Hashes:
    """The 32-bit hash of every five-character piece of a text in UTF-8, in order.

    Of five ASCII characters it is that of their bytes, which are read as one number.
    """
    if text.isascii():
        pieces: Hashes = np.ndarray(
            max(0, len(text) - SHINGLE + 1), "<u8", text + bytes(8), strides=(1,)
        )
        pieces = pieces & _ASCII_PIECE
    else:
        pieces = _pieces(text.decode("utf-8", "surrogatepass"))
    pieces *= _MIX
    pieces >>= _TOP32
    return pieces


def _pieces(text: str) -> Hashes:
    """Every five-character piece as a number, which for ASCII is that of its bytes."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    count = max(0, len(codes) - SHINGLE + 1)
    high = codes >> np.uint64(7)
    pieces = np.zeros(count, np.uint64)
    for place, prime in enumerate(_HIGH):
        pieces += codes[place : place + count] << np.uint64(8 * place)
        pieces += high[place : place + count] * prime
    return pieces


def shingle_batch(texts: Sequence[bytes], boilerplate: Boilerplate | None) -> ShingleBatch:
    """The shingles of several texts, without boilerplate and without those that span two texts."""
    joined = b"".join(texts)
    hashes = shingle_hashes(joined)
    if joined.isascii():
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    else:
        characters = (len(text.decode("utf-8", "surrogatepass")) for text in texts)
        lengths = np.fromiter(characters, np.int64, len(texts))
    ends = np.cumsum(lengths)
    starts = np.minimum(ends - lengths, len(hashes))
    counts = np.maximum(lengths - SHINGLE + 1, 0)
    across = (ends[:, None] - np.arange(1, SHINGLE)).ravel()  # begin in one text, end in the next
    inside = (across >= np.repeat(starts, SHINGLE - 1)) & (across < len(hashes))
    if boilerplate is None:
        first = np.repeat(starts, SHINGLE - 1)[inside]
        hashes[across[inside]] = hashes[first]  # a piece of its own once more
        edges = np.append(starts, len(hashes))
        return ShingleBatch(hashes, edges.astype(np.uint64), counts)
    wanted = ~boilerplate[hashes >> np.uint64(32 - _BITS)]
    wanted[across[inside]] = False
    edges = np.append(starts, len(hashes))
    edges -= np.searchsorted(np.flatnonzero(~wanted), edges)
    return ShingleBatch(hashes[wanted], edges.astype(np.uint64), np.diff(edges))


def shingle_set(text: bytes, boilerplate: Boilerplate | None) -> Hashes:
    """The distinct shingles of one text, sorted, without boilerplate."""
    hashes = shingle_hashes(text)
    if boilerplate is not None:
        hashes = hashes[~boilerplate[hashes >> np.uint64(32 - _BITS)]]
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


def learn_boilerplate(texts: Sequence[bytes]) -> Boilerplate | None:
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
    table[common >> np.uint64(32 - _BITS)] = True
    return table
