"""Reasoning is told apart from the answer while it is still being written."""

import pytest

from fine_tuning.cli.chat.reasoning import Parting, parted

TEXT = "<think>\nTwo < three.\n</think>\n\nIt is <b>2</b>."


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_however_it_is_cut_the_parts_are_the_same(size: int) -> None:
    parting = Parting()
    pieces = [TEXT[i : i + size] for i in range(0, len(TEXT), size)]
    parts = [part for piece in pieces for part in parting.of(piece)] + [parting.rest()]
    assert "".join(text for text, thinking in parts if thinking) == "\nTwo < three.\n"
    assert "".join(text for text, thinking in parts if not thinking) == "\n\nIt is <b>2</b>."


def test_what_only_begins_like_a_tag_is_not_lost() -> None:
    assert parted("a <thin") == ("", "a <thin")
    assert parted("<think>on and on") == ("on and on", "")
