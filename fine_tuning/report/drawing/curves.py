"""Training curves made small enough to draw, without losing a peak."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fine_tuning.report.facts.page import CurvePoint

MOST_POINTS = 400
_SMOOTH_FROM = 40
STYLES = 6  # lines that page.css tells apart

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart; `style` names its colour, `dots` says that each point is drawn.

    `logged`: its points are what the trainer logged, as the progress bar showed it.
    """

    name: str
    points: tuple[Point, ...]
    style: str
    dots: bool = False
    logged: bool = True


@dataclass(frozen=True, kw_only=True)
class CurveChart:
    """The curves that share one pair of axes; `skipped` points were not finite numbers."""

    title: str
    curves: tuple[Curve, ...]
    y_label: str
    skipped: int = 0


def downsample(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """At most `most` points: both ends, and of each stretch between them its lowest and highest.

    Keeping minimum and maximum of each bucket keeps every spike visible (the min-max method of
    Jugel et al., "M4", VLDB 2014).
    """
    if len(points) <= most:
        return tuple(points)
    inner = points[1:-1]
    buckets = max(1, (most - 2) // 2)
    kept = [points[0]]
    for i in range(buckets):
        bucket = range(i * len(inner) // buckets, (i + 1) * len(inner) // buckets)
        low = min(bucket, key=lambda j: inner[j][1])
        high = max(bucket, key=lambda j: inner[j][1])
        kept += [inner[j] for j in sorted({low, high})]
    return (*kept, points[-1])


def smooth(points: Sequence[Point]) -> tuple[Point, ...]:
    """The mean of the logs around each step: a centred window does not lag behind a falling loss.

    The window is a tenth of the curve; towards both ends it shrinks to a third of that, so that
    it neither lags nor ends in a single noisy log.
    """
    sums = (0.0, *accumulate(y for _, y in points))
    reach = max(1, len(points) // 20)
    smoothed = []
    for i, (x, _) in enumerate(points):
        side = max(min(reach, i, len(points) - 1 - i), reach // 3)
        first, end = max(0, i - side), min(len(points), i + side + 1)
        smoothed.append((x, (sums[end] - sums[first]) / (end - first)))
    return tuple(smoothed)


def charts(points: Sequence[CurvePoint]) -> tuple[CurveChart, ...]:
    """Reward, loss, learning rate and others over the steps, each if it was logged."""
    loss, lost = _finite((point.step, point.loss) for point in points)
    held_out, held_out_lost = _finite((point.step, point.eval_loss) for point in points)
    rate, rate_lost = _finite((point.step, point.learning_rate) for point in points)
    norm, norm_lost = _finite((point.step, point.grad_norm) for point in points)
    made = (
        *_online(points),
        CurveChart(
            title="Loss",
            curves=_loss_curves(loss, held_out),
            y_label="loss per token",
            skipped=lost + held_out_lost,
        ),
        CurveChart(
            title="Learning rate",
            curves=_one("learning rate", rate, "plain"),
            y_label="learning rate",
            skipped=rate_lost,
        ),
        CurveChart(
            title="Gradient norm",
            curves=_one("gradient norm", norm, "plain"),
            y_label="norm before clipping",
            skipped=norm_lost,
        ),
    )
    return tuple(chart for chart in made if chart.curves)


def _online(points: Sequence[CurvePoint]) -> Iterator[CurveChart]:
    """What a training on sampled answers logs, the reward first."""
    wanted = (
        ("Reward", "mean reward of the answers", [(it.step, it.reward) for it in points]),
        ("Distance from the start", "KL, nats a token", [(it.step, it.kl) for it in points]),
        ("Length", "tokens of an answer", [(it.step, it.answer_tokens) for it in points]),
    )
    for title, label, values in wanted:
        found, lost = _finite(values)
        yield CurveChart(
            title=title, curves=_one(title.lower(), found, "plain"), y_label=label, skipped=lost
        )


def charts_beside(runs: Sequence[tuple[str, Sequence[CurvePoint]]]) -> tuple[CurveChart, ...]:
    """The curves of several runs over each other, by the runs' names."""
    made = []
    for title, label, value in COMPARED:
        curves: list[Curve] = []
        lost = 0
        for number, (name, points) in enumerate(runs):
            found, skipped = _finite((point.step, value(point)) for point in points)
            lost += skipped
            if title == "Training loss" and len(found) >= _SMOOTH_FROM:
                found = smooth(found)
            curves += _one(name, found, f"run-{number % STYLES}")
        if curves:
            made.append(CurveChart(title=title, curves=tuple(curves), y_label=label, skipped=lost))
    return tuple(made)


COMPARED: tuple[tuple[str, str, Callable[[CurvePoint], float | None]], ...] = (
    ("Held-out loss", "loss per token", lambda point: point.eval_loss),
    ("Training loss", "loss per token", lambda point: point.loss),
    ("Learning rate", "learning rate", lambda point: point.learning_rate),
    ("Gradient norm", "norm before clipping", lambda point: point.grad_norm),
)


def _loss_curves(loss: tuple[Point, ...], held_out: tuple[Point, ...]) -> tuple[Curve, ...]:
    if len(loss) >= _SMOOTH_FROM:
        training = (
            *_one("training, each log", loss, "faint"),
            *_one("training, smoothed", smooth(loss), "training", logged=False),
        )
    else:
        training = _one("training", loss, "training")
    return (*training, *_one("held-out", held_out, "heldout"))


def _one(
    name: str, points: tuple[Point, ...], style: str, *, logged: bool = True
) -> tuple[Curve, ...]:
    if not points:
        return ()
    kept = downsample(points)
    dots = len(kept) <= 30
    return (Curve(name=name, points=kept, style=style, dots=dots, logged=logged),)


def _finite(values: Iterable[tuple[int, float | None]]) -> tuple[tuple[Point, ...], int]:
    """The points in the order of their steps, and how many are nan or infinite."""
    logged = [(step, value) for step, value in values if value is not None]
    kept = sorted((float(step), value) for step, value in logged if math.isfinite(value))
    return tuple(kept), len(logged) - len(kept)
