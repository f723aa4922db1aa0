"""How well rewards tell wanted answers from others."""

from random import Random

import pytest
from scipy.stats import mannwhitneyu

from fine_tuning.values.answers.scores import Rewards


def test_equal_rewards_count_half() -> None:
    """Before a training by preferences the model is its own reference: accuracy was 0%."""
    same = Rewards(chosen=(0.0, 0.0, 0.0), rejected=(0.0, 0.0, 0.0))
    assert (same.accuracy, same.margin, same.count) == (0.5, 0.0, 3)
    some = Rewards(chosen=(1.0, 2.0, 0.0), rejected=(0.0, 3.0, 0.0))
    assert (some.accuracy, some.margin) == (0.5, 0.0)


def test_answers_without_pairs_are_all_compared() -> None:
    random = Random(3)
    good = tuple(random.choice((0.0, 1.0, 2.0, 3.0)) for _ in range(9))
    bad = tuple(random.choice((0.0, 1.0, 2.0)) for _ in range(5))
    found = Rewards(chosen=good, rejected=bad, paired=False)
    assert found.accuracy == pytest.approx(mannwhitneyu(good, bad).statistic / (9 * 5))
    assert found.count == 5


def test_nothing_is_said_of_what_is_not_a_number() -> None:
    lost = Rewards(chosen=(1.0, None), rejected=(0.0, 0.0))
    assert (lost.accuracy, lost.margin, lost.known) == (None, None, None)
    assert Rewards(chosen=(), rejected=(1.0,), paired=False).accuracy is None
