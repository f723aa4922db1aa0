"""Sketches of sets: two agree in about as many places as their sets have in common.

Dahlgaard, Knudsen, Thorup, "Fast Similarity Sketching" (FOCS 2017): each hash falls into one place
and the least of a place stays, so that a hash is looked at once and not once for each place. Places
that stay empty are filled in further rounds, here with what the first one left: twice as many
copies of it in each round. Of two sets a place is the same with the probability of their Jaccard
similarity.
"""

import numpy as np

from fine_tuning.dataset.insight.near.shingles import ABSENT, Hashes, ShingleBatch

_FEW = 3  # empty places that are left so: two similar sets mostly have the same ones
_ROUNDS = 10  # the last one has 512 copies of a hash; a place that is empty still stays so
_HALF = np.uint32(16)
_COPY, _MIX = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)


def sketches(batch: ShingleBatch, places: int) -> Hashes:
    """The sketch of each text; a text without pieces has ABSENT in every place."""
    rows = len(batch.spans)
    table = np.full((rows, places), ABSENT)
    _keep_least(
        table,
        np.repeat(np.arange(rows, dtype=np.uint32) * np.uint32(places), batch.spans),
        batch.hashes,
    )
    _fill(table)
    return table


def _keep_least(table: Hashes, starts: Hashes, hashes: Hashes) -> None:
    """Each hash into its place of the row that begins there, if less than what stands in it."""
    places = hashes >> _HALF
    places *= np.uint32(table.shape[1])
    places >>= _HALF
    places += starts
    np.minimum.at(table.reshape(-1), places, hashes)


def _fill(table: Hashes) -> None:
    """Fills the places where nothing fell, if there are more than a few."""
    empty = np.count_nonzero(table == ABSENT, axis=1)
    open_rows = np.flatnonzero((empty > _FEW) & (empty < table.shape[1]))
    first, round_ = table[open_rows], 1
    while len(open_rows) and round_ <= _ROUNDS:
        rows, places = np.nonzero(first != ABSENT)
        hashes, starts = first[rows, places], (rows * first.shape[1]).astype(np.uint32)
        more = np.full_like(first, ABSENT)
        for copy in range(1 << round_ - 1, 1 << round_):
            # Other hashes of the same pieces, different for each copy.
            other = hashes + _COPY * np.array(copy, np.uint32)
            other ^= other >> _HALF
            other *= _MIX
            other ^= other >> np.uint32(13)
            other *= _COPY
            other ^= other >> _HALF
            _keep_least(more, starts, other)
        own = table[open_rows]
        np.copyto(own, more, where=own == ABSENT)
        table[open_rows] = own
        still = (own == ABSENT).any(axis=1)
        open_rows, first, round_ = open_rows[still], first[still], round_ + 1
