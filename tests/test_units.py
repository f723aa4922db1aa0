"""Numbers as people read them."""

import pytest

from fine_tuning.units import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12345, "12,345 rows")]
)
def test_one_of_a_thing_is_not_several(number: int, text: str) -> None:
    assert counted(number, "row") == text


def test_the_verb_agrees() -> None:
    assert counted(1, "row is", "rows are") == "1 row is"
    assert counted(2, "row is", "rows are") == "2 rows are"
