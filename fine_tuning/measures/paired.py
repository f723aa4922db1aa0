"""How far a metric has moved, told by the same rows before and after a training."""

from collections.abc import Callable

import numpy as np

from fine_tuning.measures.texts import Floats

RESAMPLES = 4000
SEED = 0
LEVEL = 0.95
Interval = tuple[float, float]
Of = Callable[[Floats], Floats]  # sums of statistics, shape (sets, statistics) -> scores


def change_interval(
    before: Floats, after: Floats, of: Of, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval | None:
    """The interval of the change of a metric; None where it cannot be told.

    `before` and `after` are statistics of the same rows, shape (rows, statistics), from whose sum
    `of` makes the metric. A paired bootstrap over the rows: rows are drawn anew, each with both of
    its sides, so that hard and easy rows weigh equally on both (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13, percentile interval; for BLEU Koehn, EMNLP
    2004). Seeded: the same rows give the same numbers.
    """
    rows = len(before)
    if before.shape != after.shape or rows < 2:
        return None
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    draws = np.random.default_rng(SEED).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    with np.errstate(all="ignore"):
        changes = of(draws @ after) - of(draws @ before)
    if not np.isfinite(changes).all():
        return None
    return middle(changes, level)


def middle(values: Floats, level: float = LEVEL) -> Interval:
    """The interval that holds this share of the values, with as many below as above it."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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


def share_interval(gained: int, lost: int, rows: int, *, level: float = LEVEL) -> Interval:
    """The interval of the change of a share, by the rows that became right and wrong.

    D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", Journal of Educational and Behavioral Statistics 37 (2012),
    479-488. A bootstrap of rows that all went one way would claim too much.
    """
    from statistics import NormalDist

    up, down = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(
        np.sqrt((up + down - (up - down) ** 2) / (rows + 2))
    )
    return max(-1.0, up - down - half), min(1.0, up - down + half)
