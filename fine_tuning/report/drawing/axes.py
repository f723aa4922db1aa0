"""Scales and ticks of a chart, in the units of its drawing."""

import math
from dataclasses import dataclass

from fine_tuning.units import short_number

WIDTH, HEIGHT = 520.0, 280.0
WIDE_WIDTH, WIDE_HEIGHT = 1040.0, 360.0
LEFT, TOP = 70.0, 14.0
RIGHT_MARGIN, BOTTOM_MARGIN = 16.0, 46.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values low..high to places start..end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """low, high, start, end: what a script needs to do the same."""
        return (self.low, self.high, self.start, self.end)

    def ticks(self, values: tuple[float, ...]) -> tuple[Tick, ...]:
        step = values[1] - values[0] if len(values) > 1 else 1.0
        return tuple(Tick(self.at(value), tick_label(value, step)) for value in values)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The plot area with its ticks; the template draws it."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str
    y_label: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT_MARGIN
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM_MARGIN


def tick_values(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round values that cover low..high: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        pad = abs(low) * 0.5 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10, 20) if s * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(i * step for i in range(first, last + 1))


def step_values(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round whole numbers inside low..high."""
    inside = (value for value in tick_values(low, high, most) if low <= value <= high)
    return tuple(value for value in inside if value == int(value))


def tick_label(value: float, step: float) -> str:
    """The value with as many places as its step needs; `2e-5` and `20k` where that is shorter."""
    if abs(value) < step * 1e-6:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k" if abs(value) < 1_000_000 else short_number(value)
    if step < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if not math.isclose(step * 10**places, round(step * 10**places), abs_tol=1e-6):
        places += 1  # steps of 2.5
    return f"{value:,.{places}f}"
