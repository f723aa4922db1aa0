import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fine_tuning.report.drawing.axes import tick_label, tick_values
from fine_tuning.report.drawing.chart import line_chart
from fine_tuning.report.drawing.curves import charts, downsample, smooth
from fine_tuning.report.facts.page import CurvePoint


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000),
    most=st.integers(4, 200),
)
def test_a_downsampled_curve_keeps_ends_and_extremes(values: list[float], most: int) -> None:
    points = [(float(i), value) for i, value in enumerate(values)]
    kept = downsample(points, most)
    assert len(kept) <= most
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert min(y for _, y in kept) == min(values)
    assert max(y for _, y in kept) == max(values)
    assert list(kept) == sorted(set(kept)), "in order, none twice"
    assert set(kept) <= set(points)


def test_one_spike_among_100_000_steps_is_drawn() -> None:
    points = tuple(
        CurvePoint(step=step, loss=9.5 if step == 54_321 else 1.0) for step in range(100_000)
    )
    each, smoothed = charts(points)[0].curves
    assert (54_321.0, 9.5) in each.points
    assert len(each.points) <= 400
    assert max(y for _, y in smoothed.points) < 1.1


def test_smoothing_does_not_lag_behind_a_straight_line() -> None:
    points = [(float(i), 5.0 - 0.01 * i) for i in range(200)]
    middle = smooth(points)[20:-20]
    assert all(y == pytest.approx(5.0 - 0.01 * x) for x, y in middle)


def test_values_that_are_not_finite_are_counted_not_drawn() -> None:
    points = (
        CurvePoint(step=1, loss=2.0),
        CurvePoint(step=2, loss=math.nan),
        CurvePoint(step=3, loss=math.inf),
    )
    chart = charts(points)[0]
    assert (chart.skipped, len(chart.curves[0].points)) == (2, 1)
    assert "nan" not in line_chart(chart).lines[0].path


def test_a_series_that_was_never_logged_has_no_chart() -> None:
    assert [c.title for c in charts((CurvePoint(step=1, loss=2.0),))] == ["Loss"]
    assert charts(()) == ()


def test_speed_and_memory_are_drawn_where_they_were_logged() -> None:
    made = charts(
        (
            CurvePoint(step=1, loss=2.0, tokens_per_second=900.0, process_memory=3 * 2.0**30),
            CurvePoint(step=2, eval_loss=1.0),
            CurvePoint(step=3, loss=1.5, tokens_per_second=1100.0, process_memory=4 * 2.0**30),
        )
    )
    assert [chart.title for chart in made] == ["Loss", "Speed", "Memory"]
    assert made[1].curves[0].points == ((1.0, 900.0), (3.0, 1100.0))
    assert made[2].curves[0].points == ((1.0, 3.0), (3.0, 4.0)), "in GiB"
    (on_gpu,) = charts((CurvePoint(step=1, gpu_memory=2.0**30),))
    assert on_gpu.title == "GPU memory"


@settings(deadline=None)
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-6, 1e6))
def test_ticks_cover_the_values_in_equal_steps(low: float, width: float) -> None:
    values = tick_values(low, low + width)
    step = values[1] - values[0]
    assert values[0] <= low + step * 1e-6
    assert values[-1] >= low + width - step * 1e-6
    assert 2 <= len(values) <= 8


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0.0, 0.5, "0"),
        (1.5, 0.5, "1.5"),
        (2.5, 2.5, "2.5"),
        (0.25, 0.25, "0.25"),
        (2e-4, 5e-5, "2e-4"),
        (1.5e-4, 5e-5, "1.5e-4"),
        (2000.0, 1000.0, "2,000"),
        (20_000.0, 10_000.0, "20k"),
        (2_500_000.0, 500_000.0, "2.5M"),
    ],
)
def test_tick_labels_are_short(value: float, step: float, label: str) -> None:
    assert tick_label(value, step) == label


def test_the_pointer_shows_what_the_progress_bar_showed() -> None:
    """A curve told the mean of its neighbours, where the bar had told the loss of the step."""
    points = [CurvePoint(step=step, loss=float(step % 7)) for step in range(1, 61)]
    chart = line_chart(charts(points)[0])
    assert len(chart.lines) == 2, "each log, and the smoothed line"
    (shown,) = chart.hover
    assert shown["points"] == [[step, float(step % 7)] for step in range(1, 61)]
