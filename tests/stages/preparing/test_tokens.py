"""What is said of the tokens is true."""

from pathlib import Path

import pytest

from fine_tuning.errors import DataError
from fine_tuning.report import parity_of
from fine_tuning.stages.preparing.tokens import refuse_unreadable, token_warnings
from fine_tuning.stages.train import ship_template
from tests.dataset.canonical_files import chat, checked_data
from tests.looks import look_of

KEPT = {"jinja": None, "shipped": False, "unwritten": "it leaves out tools"}
EQUAL = {"parity": "equal", "difference": None, "jinja": None, "shipped": None}


def test_a_shipped_template_is_said_to_be_shipped() -> None:
    (warning,) = token_warnings(look_of())
    assert "trained b / own c" in warning
    assert warning.endswith("so the trained template is shipped")


def test_a_template_that_is_not_shipped_is_not_said_to_be() -> None:
    look = look_of(template=KEPT)
    differs, kept = token_warnings(look)
    assert "shipped" not in differs
    assert "(it leaves out tools), so the model's own is shipped" in kept
    assert "serve with" in kept
    parity = parity_of(look)
    assert parity is not None
    assert "a server sends other prompts than were trained" in parity.message


def test_a_model_without_a_template_is_left_without_one_that_is_wrong() -> None:
    base = {**KEPT, "parity": "none", "difference": None, "own": None}
    (kept,) = token_warnings(look_of(template=base))
    assert "so none is shipped" in kept


@pytest.mark.parametrize(("template", "left"), [("own", ["own"]), (None, [])])
def test_what_the_engine_made_of_the_template_does_not_stay_beside_the_adapter(
    tmp_path: Path, template: str | None, left: list[str]
) -> None:
    (tmp_path / "chat_template.jinja").write_text("without tools", encoding="utf-8")
    ship_template(tmp_path, template)
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == left


def test_answers_that_are_not_trained_are_said() -> None:
    look = look_of(template=EQUAL, untrained_answers=3)
    assert token_warnings(look) == ["3 answers have the weight 0: they are read, not trained"]


def test_an_overlong_row_is_not_said_to_lose_its_end_before_it_is_decided() -> None:
    cut = {"tokens": 4, "trained": 2, "spans": [], "all_masked": False, "stop_trained": False}
    views = [{**cut, "row": 10}, {**cut, "row": 11}, {**cut, "row": 12, "all_masked": True}]
    assert token_warnings(look_of(template=EQUAL, views=views, overlong={"10": [2000]})) == [
        "row 11: the end-of-turn token is not trained",
        "row 12: nothing is trained, every label is masked",
    ]


def test_media_that_cannot_be_read_are_named_by_their_lines(tmp_path: Path) -> None:
    data = checked_data(tmp_path, [chat(f"Hello {i}", "Hi") for i in range(12)])
    refuse_unreadable(data, look_of())
    unreadable = {str(row): f"{row}.png: cut off" for row in (2, 10)}
    with pytest.raises(DataError, match=r"2 rows have media .*\n.*:3: 2\.png.*\n.*:11: 10\.png"):
        refuse_unreadable(data, look_of(unreadable=unreadable))
