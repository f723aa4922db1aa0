"""How far a loss has moved, told by the same rows before and after a training."""

from collections.abc import Sequence

import numpy as np

from fine_tuning.values.scores import RowLoss

RESAMPLES = 4000
SEED = 0
LEVEL = 0.95


def change_interval(
    before: Sequence[RowLoss], after: Sequence[RowLoss]
) -> tuple[float, float] | None:
    """The 95% interval of the change of the loss per token; None where it cannot be told.

    A paired bootstrap over the rows: rows are drawn anew, each with both of its losses, so that
    hard and easy rows weigh equally on both sides (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13, percentile interval). Seeded: the same rows give the same numbers.
    """
    if len(before) != len(after) or len(before) < 2:
        return None
    old, new = (np.array([loss for loss, _ in side], dtype=float) for side in (before, after))
    changes, tokens = new - old, np.array([count for _, count in after], dtype=float)
    if not (np.isfinite(changes).all() and tokens.all()):  # None is read as nan
        return None
    drawn = np.random.default_rng(SEED).integers(len(changes), size=(RESAMPLES, len(changes)))
    means = changes[drawn].sum(axis=1) / tokens[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
