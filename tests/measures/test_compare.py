from dataclasses import replace

import pytest

from fine_tuning.measures.compare import compared
from fine_tuning.values.answers.scores import Score, Scored
from tests.measures.scored import PAIRS, scored

RIGHT = [(expected, expected) for _, expected in PAIRS]


def by_metric(before: Scored, after: Scored) -> dict[str, Score]:
    return {score.metric: score for score in compared(before, after)}


def test_every_metric_of_the_same_rows_has_the_interval_of_its_change() -> None:
    before = scored(PAIRS, loss=2.0, stops=[False, False, True, True, True, True])
    found = by_metric(before, scored(RIGHT, loss=1.0))
    assert list(found) == [
        *("exact_match", "loss", "perplexity", "bleu", "chrf"),
        *("rouge_1", "rouge_2", "rouge_l", "stops", "length"),
    ]
    assert found["exact_match"].before == pytest.approx(1 / 6)
    assert found["exact_match"].after == 1
    assert found["exact_match"].moved == (5, 0)
    assert found["stops"].moved == (2, 0) and found["stops"].after == 1
    assert (found["loss"].before, found["loss"].after) == (2.0, 1.0)
    assert found["bleu"].after == pytest.approx(100) and found["chrf"].after == pytest.approx(100)
    for score in found.values():
        assert score.change is not None and score.n == 6
        low, high = score.change
        assert low <= high and (score.before or 0) + low <= (score.after or 0)


def test_rows_in_another_order_are_other_rows() -> None:
    """Shuffled answers would be paired with those of other rows."""
    before = scored(PAIRS)
    turned = replace(before, samples=before.samples[::-1])
    assert all(score.before is None and score.change is None for score in compared(before, turned))


def test_the_scores_of_an_older_version_have_no_stops() -> None:
    old = replace(
        scored(PAIRS), samples=tuple(replace(it, stopped=None) for it in scored(PAIRS).samples)
    )
    assert "stops" not in by_metric(old, old)


def test_a_loss_that_is_not_finite_has_no_interval() -> None:
    lost = replace(scored(PAIRS), losses=((None, 1), *scored(PAIRS).losses[1:]))
    loss = by_metric(scored(PAIRS), lost)["loss"]
    assert (loss.after, loss.change) == (None, None)


def test_answers_that_rewards_judge_are_compared_row_by_row() -> None:
    """A tie counts half; the interval is that of the wins and losses, and not of the sizes."""

    def judged(*rewards: float) -> Scored:
        side = scored(PAIRS)
        samples = zip(side.samples, rewards, strict=True)
        metrics = {**side.metrics, "reward": 9.0, "reward of length:9": rewards[0]}
        answers = tuple(replace(it, reward=reward) for it, reward in samples)
        return replace(side, samples=answers, metrics=metrics)

    found = by_metric(judged(0, 0, 0, 0, 0, 0), judged(1, 2, 3, 0, 0, -9))
    assert list(found)[:3] == ["reward", "wins", "reward of length:9"]
    wins, reward = found["wins"], found["reward"]
    assert (wins.before, wins.after) == (0.5, 0.5 + (3 - 1) / 12)
    assert wins.moved == (3, 1) and wins.change is not None
    assert wins.change[0] < 0 < wins.change[1]
    assert reward.after == pytest.approx(-0.5) and reward.name == "Reward"
    assert found["reward of length:9"].name == "Reward: length:9"


def test_prompts_alone_have_no_metric_of_what_is_expected() -> None:
    """An answer was said to be wrong where none was expected."""
    alone = scored([("Yes.", ""), ("No.", "No.")])
    assert {*by_metric(alone, alone)} == {"loss", "perplexity", "stops", "length"}
