"""The histogram of row lengths with percentiles and the cutoff marked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from fine_tuning.report.facts.page import Lengths
from fine_tuning.units import counted

_BOTTOM = HEIGHT - BOTTOM_MARGIN
_RIGHT = WIDTH - RIGHT_MARGIN
_MOST_BARS = 60
_CHARACTER = 8.7  # about the width of a character of a label on a phone
_ROW = 17.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `over` if all its rows are longer than the cutoff."""

    x: float
    y: float
    width: float
    height: float
    over: bool
    says: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a label above the plot; `row` keeps labels from touching."""

    x: float
    label: str
    style: str
    anchor: str = "middle"
    row: int = 0


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """A finished histogram; `rise` is the room that the labels take above the plot."""

    axes: Axes
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    rise: float
    has_over: bool
    summary: str


def histogram(lengths: Lengths) -> Histogram | None:
    """None if there is nothing to draw."""
    bins = merge_bins(lengths.bins)
    if not bins:
        return None
    x, y, axes = _scales(bins, lengths)
    bars = tuple(_bar(bin_, x, y, lengths) for bin_ in bins if bin_[2])
    marks = _marks(lengths, x)
    rows = 1 + max((mark.row for mark in marks), default=-1)
    return Histogram(
        axes=axes,
        bars=bars,
        marks=marks,
        rise=rows * _ROW,
        has_over=any(bar.over for bar in bars),
        summary=", ".join(f"{name} {value:,}" for name, value in lengths.percentiles.items()),
    )


def merge_bins(
    bins: Sequence[tuple[int, int, int]], most: int = _MOST_BARS
) -> tuple[tuple[int, int, int], ...]:
    """At most `most` bins, by joining neighbours."""
    size = -(-len(bins) // most) or 1
    groups = (bins[i : i + size] for i in range(0, len(bins), size))
    return tuple((group[0][0], group[-1][1], sum(n for _, _, n in group)) for group in groups)


def _scales(bins: Sequence[tuple[int, int, int]], lengths: Lengths) -> tuple[Scale, Scale, Axes]:
    first, last = bins[0][0], bins[-1][1]
    if lengths.cutoff is not None and lengths.cutoff <= 2 * last:
        last = max(last, lengths.cutoff)  # a cutoff far beyond all rows would squeeze them
    rows = tick_values(0, max(n for _, _, n in bins) or 1, most=5)
    rows = tuple(value for value in rows if value == int(value))
    x = Scale(first, max(last, first + 1), LEFT, _RIGHT)
    y = Scale(rows[0], rows[-1], _BOTTOM, TOP)
    axes = Axes(
        x_ticks=x.ticks(step_values(first, last)),
        y_ticks=y.ticks(rows),
        x_label=f"{lengths.unit} per row",
        y_label="rows",
    )
    return x, y, axes


def _bar(bin_: tuple[int, int, int], x: Scale, y: Scale, lengths: Lengths) -> Bar:
    start, end, rows = bin_
    left, right = x.at(start), x.at(end)
    top = min(y.at(rows), _BOTTOM - 1.5)  # one row among thousands is still seen
    return Bar(
        x=left,
        y=top,
        width=round(max(1.0, right - left - 1), 1),
        height=round(_BOTTOM - top, 1),
        over=lengths.cutoff is not None and start > lengths.cutoff,
        says=f"{start:,} to {end - 1:,} {lengths.unit}: {counted(rows, 'row')}",
    )


def _marks(lengths: Lengths, x: Scale) -> tuple[Mark, ...]:
    wanted = [
        Mark(x.at(value), f"{name} {value:,}", "percentile")
        for name, value in lengths.percentiles.items()
        if x.low <= value <= x.high
    ]
    if lengths.cutoff is not None and x.low <= lengths.cutoff <= x.high:
        wanted.append(Mark(x.at(lengths.cutoff), f"cutoff {lengths.cutoff:,}", "cutoff"))
    ends: list[float] = []  # per row of labels, where its last label ends
    placed = []
    for mark in sorted(wanted, key=lambda mark: mark.x):
        width = len(mark.label) * _CHARACTER
        anchor, left = "middle", mark.x - width / 2
        if mark.x + width / 2 > _RIGHT:
            anchor, left = "end", mark.x - width
        row = next((i for i, end in enumerate(ends) if end + 4 < left), len(ends))
        ends[row : row + 1] = [left + width]
        placed.append(replace(mark, anchor=anchor, row=row))
    return tuple(placed)
