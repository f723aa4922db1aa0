import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy.stats import bootstrap

from fine_tuning.measures.compare import compared
from fine_tuning.measures.metrics import METRICS
from fine_tuning.measures.rewards import REWARDS, WINS, margin_change
from fine_tuning.report.facts.collect import read_scores, score_lines
from fine_tuning.report.facts.page import RunFacts
from fine_tuning.report.told.scores import MEANINGS, score_row, verdict, wilson
from fine_tuning.units import percent_text
from fine_tuning.values.answers.scores import Rewards, Score
from fine_tuning.values.codec import to_json
from fine_tuning.values.results import Failure


# R. G. Newcombe, "Two-sided confidence intervals for the single proportion: comparison of seven
# methods", Statistics in Medicine 17 (1998), 857-872, table I, method 3 (score, no continuity
# correction).
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_stays_inside() -> None:
    low, high = wilson(40, 40)
    assert (1 - high, 1 - low) == pytest.approx(wilson(0, 40))
    assert high == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def exact_match(before: float | None, after: float | None, n: int = 40) -> RunFacts:
    return RunFacts(
        scores=(Score(name="Exact match", before=before, after=after, n=n, kind="share"),)
    )


@pytest.mark.parametrize(
    ("before", "after", "headline", "mood", "says"),
    [
        (0.02, 0.97, "Exact match 2% → 97% on 40 held-out rows", "good", "do not overlap"),
        (0.5, 0.55, "Exact match 50% → 55% on 40 held-out rows", "unsure", "may be chance"),
        (0.9, 0.1, "Exact match 90% → 10% on 40 held-out rows", "bad", "Worse than before"),
        (0.5, 0.5, "Exact match 50% → 50% on 40 held-out rows", "unsure", "changed nothing"),
        (None, 0.5, "Exact match 50% after training on 40 held-out rows", "plain", ""),
    ],
)
def test_the_verdict_says_what_the_rows_allow(
    before: float | None, after: float, headline: str, mood: str, says: str
) -> None:
    found = verdict(exact_match(before, after))
    assert (found.headline, found.mood) == (headline, mood)
    assert says in found.detail


def test_a_share_stands_before_a_loss_in_the_verdict() -> None:
    scores = (
        Score(name="Loss", before=3.0, after=0.5, n=40, better="lower"),
        Score(name="Exact match", before=0.0, after=1.0, n=40, kind="share"),
    )
    assert verdict(RunFacts(scores=scores)).headline.startswith("Exact match 0% → 100%")
    only_loss = verdict(RunFacts(scores=scores[:1]))
    assert (only_loss.headline, only_loss.mood) == ("Loss 3 → 0.5 on 40 held-out rows", "good")


def test_a_loss_that_became_nan_is_bad() -> None:
    lost = Score(name="Loss", before=3.0, after=float("nan"), n=40, better="lower")
    assert verdict(RunFacts(scores=(lost,))).mood == "bad"


def test_a_failed_run_has_no_good_verdict() -> None:
    facts = RunFacts(status="failed", failure=Failure(what="no"), scores=exact_match(0, 1).scores)
    assert (verdict(facts).headline, verdict(facts).mood) == ("The run failed", "bad")


def test_nearly_all_is_not_shown_as_all() -> None:
    row = score_row(Score(name="m", before=0.0001, after=0.9999, n=10_000, kind="share"))
    assert (row.before, row.after) == ("<0.1%", ">99.9%")


def prose(exact: tuple[float, float], change: tuple[float, float] | None) -> RunFacts:
    """Scores as of long answers: hardly any is the expected text."""
    return RunFacts(
        scores=(
            Score(name="Exact match", before=exact[0], after=exact[1], n=40, kind="share"),
            Score(
                name="Loss of the answers",
                before=9.04,
                after=0.23,
                n=40,
                better="lower",
                change=change,
            ),
        )
    )


def test_prose_leads_with_the_loss_and_its_interval() -> None:
    """ "Training changed nothing" stood over a loss that fell from 9.04 to 0.23."""
    found = verdict(prose((0.0, 0.0), (-9.0, -8.6)))
    assert found.headline == "Loss of the answers 9.04 → 0.23 on 40 held-out rows"
    assert found.mood == "good"
    assert found.detail == (
        "Over the same 40 rows it changed by −9 to −8.6 (95% interval): the model learnt this."
    )
    assert verdict(prose((0.0, 0.3), (-9.0, -8.6))).headline.startswith("Exact match 0% → 30%")


def test_a_loss_whose_interval_holds_zero_is_not_called_learnt() -> None:
    found = verdict(prose((0.0, 0.025), (-0.2, 0.1)))
    assert found.mood == "unsure" and "may be chance" in found.detail


@pytest.mark.parametrize(
    ("moved", "mood", "says"),
    [((8, 0), "good", "8 became right and 0 wrong"), ((14, 6), "unsure", "may be chance")],
)
def test_the_same_rows_decide_where_intervals_of_shares_overlap(
    moved: tuple[int, int], mood: str, says: str
) -> None:
    score = Score(name="Exact match", before=0.5, after=0.7, n=40, kind="share", moved=moved)
    found = verdict(RunFacts(scores=(score,)))
    assert found.mood == mood
    assert says in found.detail


def test_rewards_are_told_with_their_intervals(tmp_path: Path) -> None:
    random = Random(1)
    before = Rewards(chosen=(0.0,) * 40, rejected=(0.0,) * 40)
    after = Rewards(chosen=tuple(random.gauss(1, 1) for _ in range(40)), rejected=(0.0,) * 40)
    sides = {
        name: {"metrics": {"n": 40, **reward_metrics_of(it)}, "rewards": to_json(it)}
        for name, it in (("before", before), ("after", after))
    }
    (tmp_path / "scores.json").write_text(json.dumps(sides), encoding="utf-8")
    accuracy, margin = score_lines(tmp_path)
    low, high = wilson(round(40 * (after.accuracy or 0)), 40)
    said = f"Reward accuracy: 50% -> {percent_text(after.accuracy or 0)} ("
    assert accuracy.startswith(f"{said}{percent_text(low)} to {percent_text(high)}) on 40 held-out")
    middle = bootstrap((after.chosen,), np.mean, method="percentile", rng=0).confidence_interval
    found = margin_change(before, after)
    assert found == pytest.approx(middle, abs=0.03)
    assert "(change +" in margin
    scores = read_scores(tmp_path)
    assert verdict(RunFacts(scores=compared(scores.before, scores.after))).mood == "good"


def reward_metrics_of(rewards: Rewards) -> dict[str, float | None]:
    return {
        "reward_accuracy": rewards.accuracy,
        "reward_margin": rewards.margin,
        "comparisons": rewards.count,
    }


def test_a_margin_of_other_rows_has_no_interval() -> None:
    one = Rewards(chosen=(1.0, 2.0), rejected=(0.0, 0.0))
    other = Rewards(chosen=(1.0, 2.0, 3.0), rejected=(0.0, 0.0, 0.0))
    assert margin_change(one, other) is None
    assert margin_change(None, one) is None


def test_ranges_that_overlap_do_not_hide_what_the_same_rows_tell() -> None:
    """The page coloured by one test and drew another, without a word."""
    score = Score(
        name="Exact match",
        before=0.5,
        after=0.7,
        n=40,
        kind="share",
        moved=(8, 0),
        change=(0.06, 0.32),
    )
    row = score_row(score)
    assert row.before_interval and row.after_interval
    assert row.before_interval[1] > row.after_interval[0]
    assert row.mood == "good" and row.change == "+20.0 points (+6.0 to +32.0)"


def test_that_answers_stop_never_stands_for_all() -> None:
    scores = (
        Score(name="Loss", before=3.0, after=0.5, n=40, better="lower"),
        Score(name="Answers that stop", before=0.0, after=1.0, n=40, kind="share", leads=False),
    )
    assert verdict(RunFacts(scores=scores)).headline.startswith("Loss")


def test_an_answer_that_became_longer_is_neither_better_nor_worse() -> None:
    length = Score(name="Tokens", before=3.0, after=9.0, n=9, better="neither", change=(5.0, 7.0))
    assert score_row(length).mood == "plain"


def test_where_rewards_judge_the_answers_the_reward_leads() -> None:
    found = verdict(
        RunFacts(
            scores=(
                Score(name="Wins", metric="wins", before=0.5, after=0.9, kind="share", leads=False),
                Score(
                    name="Exact match", metric="exact_match", before=0.5, after=0.6, kind="share"
                ),
                Score(name="Reward", metric="reward", before=1.0, after=2.0, change=(0.5, 1.5)),
            )
        )
    )
    assert found.headline == "Reward 1 → 2" and found.mood == "good"


def test_every_metric_says_what_it_means_to_somebody_who_has_never_met_it() -> None:
    assert {*METRICS, *REWARDS, WINS} == {*MEANINGS}
