"""Training curves made small enough to draw, without losing a peak."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fine_tuning.report.facts.page import CurvePoint
from fine_tuning.values.plan import GIB

MOST_POINTS = 400
_SMOOTH_FROM = 40
STYLES = 6  # lines that page.css tells apart

Point = tuple[float, float]
Drawn = tuple[str, str, Callable[[CurvePoint], float | None]]  # title, label, what is drawn


def _gib(size: float | None) -> float | None:
    return None if size is None else size / GIB


# What a training on sampled answers logs, the reward first; and what every training does.
OF_ONLINE: tuple[Drawn, ...] = (
    ("Reward", "mean reward of the answers", lambda point: point.reward),
    ("Distance from the start", "KL, nats a token", lambda point: point.kl),
    ("Length", "tokens of an answer", lambda point: point.answer_tokens),
)
OF_TRAINING: tuple[Drawn, ...] = (
    ("Learning rate", "learning rate", lambda point: point.learning_rate),
    ("Gradient norm", "norm before clipping", lambda point: point.grad_norm),
    ("Speed", "tokens per second", lambda point: point.tokens_per_second),
    ("GPU memory", "GiB allocated at most", lambda point: _gib(point.gpu_memory)),
    ("Memory", "GiB of the process", lambda point: _gib(point.process_memory)),
)


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
    made = (
        *_single(points, OF_ONLINE),
        CurveChart(
            title="Loss",
            curves=_loss_curves(loss, held_out),
            y_label="loss per token",
            skipped=lost + held_out_lost,
        ),
        *_single(points, OF_TRAINING),
    )
    return tuple(chart for chart in made if chart.curves)


def _single(points: Sequence[CurvePoint], wanted: Sequence[Drawn]) -> Iterator[CurveChart]:
    """A chart of each with one curve; empty where nothing was logged."""
    for title, label, value in wanted:
        found, lost = _finite((point.step, value(point)) for point in points)
        curves = _one(title.lower(), found, "plain")
        yield CurveChart(title=title, curves=curves, y_label=label, skipped=lost)


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


COMPARED: tuple[Drawn, ...] = (
    ("Held-out loss", "loss per token", lambda point: point.eval_loss),
    ("Training loss", "loss per token", lambda point: point.loss),
    *OF_TRAINING,
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
