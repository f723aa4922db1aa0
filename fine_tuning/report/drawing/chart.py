"""Training curves as paths on axes, which the template draws as SVG."""

from dataclasses import dataclass

from fine_tuning.report.drawing.axes import (
    BOTTOM_MARGIN,
    HEIGHT,
    LEFT,
    RIGHT_MARGIN,
    TOP,
    WIDTH,
    Axes,
    Scale,
    step_values,
    tick_values,
)
from fine_tuning.report.drawing.curves import Curve, CurveChart


@dataclass(frozen=True, kw_only=True)
class Line:
    """One drawn curve: its path, and dots as (x, y, what the dot says)."""

    name: str
    style: str
    path: str
    dots: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """A finished chart; `hover` is what the page's script shows under the pointer: of each step the
    number that was logged, as the progress bar showed it.

    `x_scale` is (first step, last step, their places).
    """

    title: str
    axes: Axes
    lines: tuple[Line, ...]
    summary: tuple[str, ...]  # of each curve
    skipped: int
    x_scale: tuple[float, float, float, float]
    hover: tuple[dict[str, object], ...]


def line_chart(chart: CurveChart, width: float = WIDTH, height: float = HEIGHT) -> LineChart:
    """The curves on common axes that cover all their points."""
    x, y, axes = _scales(chart, width, height)
    return LineChart(
        title=chart.title,
        axes=axes,
        lines=tuple(_line(curve, x, y) for curve in chart.curves),
        summary=tuple(_summary(curve) for curve in chart.curves),
        skipped=chart.skipped,
        x_scale=x.corners,
        hover=tuple(
            {"name": curve.name, "points": [[int(a), float(f"{b:.4g}")] for a, b in curve.points]}
            for curve in chart.curves
            if curve.logged
        ),
    )


def _scales(chart: CurveChart, width: float, height: float) -> tuple[Scale, Scale, Axes]:
    points = [point for curve in chart.curves for point in curve.points]
    first, last = min(a for a, _ in points), max(a for a, _ in points)
    if first == last:
        first, last = first - 1, last + 1
    low, high = min(b for _, b in points), max(b for _, b in points)
    if 0 <= low < 0.5 * high:
        low = 0.0  # the distance from zero says something, and costs little room here
    elif low > 0.9 * high > 0:
        low = 0.9 * high  # a change of one percent shall not look like a slope
    values = tick_values(low, high)
    x = Scale(first, last, LEFT, width - RIGHT_MARGIN)
    y = Scale(values[0], values[-1], height - BOTTOM_MARGIN, TOP)
    axes = Axes(
        width=width,
        height=height,
        right=width - RIGHT_MARGIN,
        bottom=height - BOTTOM_MARGIN,
        x_ticks=x.ticks(step_values(first, last, most=6 if width <= WIDTH else 11)),
        y_ticks=y.ticks(values),
        x_label="step",
        y_label=chart.y_label,
    )
    return x, y, axes


def _line(curve: Curve, x: Scale, y: Scale) -> Line:
    places = [(x.at(a), y.at(b)) for a, b in curve.points]
    says = [f"step {a:,.0f}: {curve.name} {b:.4g}" for a, b in curve.points]
    return Line(
        name=curve.name,
        style=curve.style,
        path="M" + "L".join(f"{a:g},{b:g}" for a, b in places),
        dots=tuple((a, b, text) for (a, b), text in zip(places, says, strict=True))
        if curve.dots
        else (),
    )


def _summary(curve: Curve) -> str:
    (first, start), (last, end) = curve.points[0], curve.points[-1]
    return f"{curve.name}: {start:.4g} at step {first:,.0f}, {end:.4g} at step {last:,.0f}"
