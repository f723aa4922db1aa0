"""The cutoff holds the real rows."""

from hypothesis import given
from hypothesis import strategies as st

from fine_tuning.engine.plan.cutoff import STEP, choose_cutoff

lengths = st.lists(st.integers(1, 20_000), min_size=1)


@given(lengths, st.sampled_from([None, 512, 4096, 131_072]))
def test_every_row_fits_or_the_cutoff_is_the_largest_allowed(
    rows: list[int], context: int | None
) -> None:
    cutoff = choose_cutoff(rows, context, packed=False)
    cap = min(4096, context or 4096)
    assert cutoff <= cap
    assert max(rows) <= cutoff or cutoff == cap
    assert cutoff - max(rows) < STEP


def test_a_short_document_still_gives_blocks() -> None:
    assert (
        choose_cutoff([1500], 4096, packed=True) * 16 <= 1500
        or choose_cutoff([1500], 4096, packed=True) == 64
    )
    assert choose_cutoff([1_000_000], 4096, packed=True) == 2048
