from fine_tuning.report.drawing.histogram import histogram, merge_bins
from fine_tuning.report.facts.page import Lengths
from tests.report.examples import lengths


def test_bars_over_the_cutoff_are_told_apart() -> None:
    drawn = histogram(lengths())
    assert drawn is not None
    assert [bar.over for bar in drawn.bars].count(True) == 5
    assert drawn.bars[-1].says == "928 to 959 tokens: 3 rows"
    assert min(bar.height for bar in drawn.bars) >= 1.5


def test_labels_that_would_touch_stand_in_different_rows() -> None:
    close = Lengths(bins=((0, 100, 1),), percentiles={"p90": 50, "p99": 51}, cutoff=52)
    drawn = histogram(close)
    assert drawn is not None
    assert sorted(mark.row for mark in drawn.marks) == [0, 1, 2]


def test_merging_bins_loses_no_row() -> None:
    bins = tuple((i, i + 1, i % 7) for i in range(1000))
    merged = merge_bins(bins)
    assert len(merged) <= 60
    assert sum(rows for _, _, rows in merged) == sum(rows for _, _, rows in bins)
    assert (merged[0][0], merged[-1][1]) == (0, 1000)


def test_nothing_to_draw() -> None:
    assert histogram(Lengths()) is None
    assert histogram(Lengths(bins=((0, 0, 0),))) is not None
