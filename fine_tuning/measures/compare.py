"""Two models on the same rows -> each metric with the interval of its change."""

import math

import numpy as np

from fine_tuning.measures.metrics import JUDGED, METRICS, Metric
from fine_tuning.measures.paired import LEVEL, Interval, change_interval, share_interval
from fine_tuning.measures.rewards import judged_scores, reward_scores
from fine_tuning.measures.texts import Floats
from fine_tuning.values.answers.scores import Score, Scored


def compared(before: Scored, after: Scored) -> tuple[Score, ...]:
    """Every metric that either side has.

    Scores of other rows say nothing about what training changed: then only `after` counts.
    """
    if after.metrics and not same_rows(before, after):
        before = Scored()
    found = [score_of(metric, before, after) for metric in METRICS.values()]
    known = [score for score in found if score is not None]
    rewards = [score for score in known if score.metric == JUDGED]
    others = [score for score in known if score.metric != JUDGED]
    return (
        *reward_scores(before, after),
        *rewards,
        *judged_scores(before, after),
        *others,
    )


def same_rows(before: Scored, after: Scored) -> bool:
    """Whether both sides were asked the same, in the same order."""
    asked = [[(it.question, it.expected) for it in side.samples] for side in (before, after)]
    return asked[0] == asked[1] and before.metrics.get("n") == after.metrics.get("n")


def interval(
    metric: Metric, before: Floats, after: Floats, *, level: float = LEVEL
) -> Interval | None:
    """The interval of the change of a metric at this level, by the statistics of the same rows."""
    if metric.kind == "share":
        gained, lost = moved(before, after)
        return share_interval(gained, lost, len(after), level=level)
    return change_interval(before, after, metric.of, level=level, resamples=metric.resamples)


def moved(before: Floats, after: Floats) -> tuple[int, int]:
    """How many rows of a share became right, and how many wrong."""
    change = after[:, 0] - before[:, 0]
    return int((change > 0).sum()), int((change < 0).sum())


def value(metric: Metric, scored: Scored, rows: Floats | None) -> float | None:
    """The metric of one side; None if it is not known, or is not finite."""
    if rows is None:
        known = scored.metrics.get(metric.name)
        return None if known is None else float(known)
    with np.errstate(all="ignore"):
        (found,) = metric.of(rows.sum(axis=0, keepdims=True))
    return float(found) if math.isfinite(found) else None


def score_of(metric: Metric, before: Scored, after: Scored) -> Score | None:
    """One metric of both sides; None if neither has it."""
    old, new = metric.rows(before), metric.rows(after)
    values = value(metric, before, old), value(metric, after, new)
    if values == (None, None) and not {metric.name} & {*before.metrics, *after.metrics}:
        return None
    change = gone = None
    if old is not None and new is not None and old.shape == new.shape:
        change = interval(metric, old, new)
        gone = moved(old, new) if metric.kind == "share" else None
    signed = after if new is not None else before
    return Score(
        name=metric.title,
        metric=metric.name,
        before=values[0],
        after=values[1],
        n=int((after.metrics or before.metrics).get("n") or 0),
        kind=metric.kind,
        better=metric.better,
        change=change,
        moved=gone,
        signature=metric.signature(signed) if metric.signature and signed.samples else "",
        leads=metric.leads,
    )
