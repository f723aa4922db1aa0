"""How far a score has moved, told by the same rows before and after a training."""

from collections.abc import Sequence

import numpy as np

from fine_tuning.values.scores import Answer, Rewards, RowLoss

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
    return _middle(changes[drawn].sum(axis=1) / tokens[drawn].sum(axis=1))


def margin_change(before: Rewards | None, after: Rewards | None) -> tuple[float, float] | None:
    """The 95% interval of the change of the reward margin, by the same bootstrap.

    A row is drawn with both of its answers if they are of one prompt; answers that are marked good
    or bad are drawn from either side by themselves.
    """
    old, new = before and before.known, after and after.known
    if not (before and after and old and new) or after.count < 2:
        return None
    if [*map(len, old)] != [*map(len, new)]:
        return None
    good, bad = np.array(new[0]) - np.array(old[0]), np.array(new[1]) - np.array(old[1])
    draws = np.random.default_rng(SEED)
    drawn = draws.integers(len(good), size=(RESAMPLES, len(good)))
    others = drawn if after.paired else draws.integers(len(bad), size=(RESAMPLES, len(bad)))
    return _middle(good[drawn].mean(axis=1) - bad[others].mean(axis=1))


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def moved_answers(before: Sequence[Answer], after: Sequence[Answer]) -> tuple[int, int] | None:
    """How many rows became right, and how many wrong; None unless both sides are the same rows."""
    asked = [[(it.question, it.expected) for it in side] for side in (before, after)]
    if not after or asked[0] != asked[1]:
        return None
    right = [[it.answer == it.expected for it in side] for side in (before, after)]
    pairs = list(zip(*right, strict=True))
    return pairs.count((False, True)), pairs.count((True, False))


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test: rows that stayed as they were say nothing, and
    by chance each of the others goes either way alike.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947), 153-157, with the binomial distribution itself.
    """
    n = gained + lost
    ways = tail = 1  # in whole numbers: a float overflows once 1,024 rows have moved
    for k in range(min(gained, lost)):
        ways = ways * (n - k) // (k + 1)  # n over k + 1, from n over k
        tail += ways
    p: float = 2 * tail / 2**n
    return min(1.0, p)
