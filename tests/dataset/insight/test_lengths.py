"""Length distributions agree with the plain computation on all lengths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fine_tuning.dataset.insight.lengths import Lengths


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=200))
def test_percentiles_are_exact_to_three_digits(lengths: list[int]) -> None:
    collected = Lengths()
    collected.add(np.array(lengths[:50]))
    collected.add(np.array(lengths[50:], np.int64))
    found = collected.distribution()
    assert (found.rows, found.longest) == (len(lengths), max(lengths))
    for name, value in found.percentiles.items():
        exact = int(np.percentile(lengths, int(name[1:]), method="inverted_cdf"))
        assert 0.99 * exact <= value <= exact
        assert exact >= 1000 or value == exact
    assert sum(bin.rows for bin in found.histogram) == len(lengths)
    assert found.histogram[0].least <= min(lengths)
    assert found.histogram[-1].most >= 0.99 * max(lengths)


def test_no_rows_have_an_empty_distribution() -> None:
    assert Lengths().distribution().histogram == ()
