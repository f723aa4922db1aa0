"""How well rewards rank held-out answers, and how far training has moved that.

An implicit reward is against the model before the training, which there gives every answer 0: equal
ones count half, so that accuracy begins at 50%.
"""

import numpy as np

from fine_tuning.measures.paired import RESAMPLES, SEED, Interval, middle, share_interval
from fine_tuning.values.answers.scores import Rewards, Score, Scored
from fine_tuning.values.tables.rewards import ONE

WINS = "wins"
ACCURACY, MARGIN = REWARDS = ("reward_accuracy", "reward_margin")


def reward_scores(before: Scored, after: Scored) -> list[Score]:
    """Accuracy and margin, if either side has rewards."""
    known = {**before.metrics, **after.metrics}
    if ACCURACY not in known:
        return []
    rows = int(known.get("comparisons") or 0)
    return [
        Score(
            name="Reward accuracy",
            metric=ACCURACY,
            before=before.metrics.get(ACCURACY),
            after=after.metrics.get(ACCURACY),
            n=rows,
            kind="share",
        ),
        Score(
            name="Reward margin",
            metric=MARGIN,
            before=before.metrics.get(MARGIN),
            after=after.metrics.get(MARGIN),
            n=rows,
            change=margin_change(before.rewards, after.rewards),
        ),
    ]


def judged_scores(before: Scored, after: Scored) -> list[Score]:
    """How often the answer after wins against the one before, a tie counting half, by the rewards
    that judge them; and the mean of each of several rewards."""
    found = [
        Score(
            name=f"Reward: {name.removeprefix(ONE)}",
            metric=name,
            before=before.metrics.get(name),
            after=after.metrics.get(name),
            n=len(after.samples or before.samples),
            leads=False,
        )
        for name in {**before.metrics, **after.metrics}
        if name.startswith(ONE)
    ]
    rewards = [
        [it.reward for it in side.samples if it.reward is not None] for side in (before, after)
    ]
    rows = len(rewards[1])
    if not rows or len(rewards[0]) != rows:
        return found
    pairs = list(zip(*rewards, strict=True))
    won, lost = sum(new > old for old, new in pairs), sum(new < old for old, new in pairs)
    low, high = share_interval(won, lost, rows)
    wins = Score(
        name="Wins against the start",
        metric=WINS,
        before=0.5,
        after=0.5 + (won - lost) / (2 * rows),
        n=rows,
        kind="share",
        change=(low / 2, high / 2),
        moved=(won, lost),
        leads=False,
    )
    return [wins, *found]


def margin_change(before: Rewards | None, after: Rewards | None) -> Interval | None:
    """The 95% interval of the change of the reward margin, by a bootstrap over the rows.

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
    return middle(good[drawn].mean(axis=1) - bad[others].mean(axis=1))
