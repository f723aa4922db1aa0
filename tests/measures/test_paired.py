from random import Random

import numpy as np
import pytest
from scipy.stats import binomtest

from fine_tuning.measures.metrics import mean
from fine_tuning.measures.paired import change_interval, mcnemar, share_interval

Losses = list[tuple[float, int]]


def interval(before: Losses, after: Losses) -> tuple[float, float] | None:
    return change_interval(np.array(before, float), np.array(after, float), mean)


def test_the_interval_of_a_paired_change() -> None:
    """Rows differ much more from each other than each from itself: pairing sees the change."""
    random = Random(0)
    before = [(random.uniform(5, 500), random.randint(5, 90)) for _ in range(60)]
    after = [(loss - 0.1 * tokens + random.gauss(0, 0.5), tokens) for loss, tokens in before]
    found = interval(before, after)
    assert found is not None and found == interval(before, after)
    low, high = found
    assert low < -0.1 < high and high - low < 0.02
    assert interval(before, before) == (0.0, 0.0)
    assert interval(before[:1], after[:1]) is None
    assert interval(before, after[:-1]) is None
    assert interval([(float("nan"), 3)] * 4, [(1.0, 3)] * 4) is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = Random(1)
    held = 0
    for _ in range(200):
        changes = [random.gauss(-0.3, 1.0) for _ in range(50)]
        low, high = interval([(5.0, 1)] * 50, [(5.0 + it, 1) for it in changes]) or (0, 0)
        held += low <= -0.3 <= high
    assert 0.88 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (2, 8, 0.109375), (900, 900, 1.0)],
)
def test_mcnemar_is_the_binomial_test_of_the_rows_that_moved(
    gained: int, lost: int, p: float
) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


@pytest.mark.parametrize(("gained", "lost"), [(5, 3), (600, 500), (500, 600), (5000, 4900)])
def test_mcnemar_agrees_with_scipy_beyond_the_range_of_a_float(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_the_interval_of_a_share_holds_the_truth_also_where_all_rows_went_one_way() -> None:
    """A bootstrap of rows that all became right gave an interval without any width."""
    low, high = share_interval(20, 0, 20)
    assert low < 0.9 and high == 1.0
    random, held = Random(2), 0
    for _ in range(500):
        moves = random.choices((1, -1, 0), (0.12, 0.02, 0.86), k=60)
        low, high = share_interval(moves.count(1), moves.count(-1), 60)
        held += low <= 0.1 <= high
    assert 0.92 <= held / 500 <= 1.0


def test_a_surer_interval_is_wider() -> None:
    usual, surer = share_interval(9, 2, 40), share_interval(9, 2, 40, level=0.99)
    assert surer[0] < usual[0] < usual[1] < surer[1]
