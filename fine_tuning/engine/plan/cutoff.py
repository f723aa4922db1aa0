"""How many tokens a row may have."""

from collections.abc import Sequence

STEP = 64
USUAL_CAP = 4096
SMALLEST_BLOCK = 64
BLOCKS_WANTED = 16


def longest_allowed(context: int | None) -> int:
    """The largest cutoff that is chosen unasked: the model's context, at most 4096 tokens."""
    return min(USUAL_CAP, context or USUAL_CAP)


def choose_cutoff(lengths: Sequence[int], context: int | None, *, packed: bool) -> int:
    """Smallest multiple of 64 that holds every row, at most the model's context and 4096 tokens.

    For text that is packed into blocks of this size: the largest power of two up to 2048 that
    still gives 16 blocks (a short document packed into too long a block vanishes).
    """
    cap = longest_allowed(context)
    if packed:
        block = min(2048, cap)
        while block > SMALLEST_BLOCK and sum(lengths) // block < BLOCKS_WANTED:
            block //= 2
        return block
    longest = max(lengths)
    return min(cap, -(-longest // STEP) * STEP)
