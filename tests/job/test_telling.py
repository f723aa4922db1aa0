"""What is said of the tokens is true."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.job.deciding import ship_template
from fine_tuning.job.telling import token_warnings
from fine_tuning.report import parity_of

DIFFERENCE = {"at": 1, "ours_tokens": ["a", "b"], "own_tokens": ["a", "c"]}


def tokens(**template: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": "alpaca",
        "reason": "you chose it",
        "parity": "differs",
        "own": "own",
    }
    known |= {"difference": DIFFERENCE, "unwritten": None}
    return {"template": {**known, **template}, "views": [], "overlong": {}, "media": []}


def test_a_shipped_template_is_said_to_be_shipped() -> None:
    (warning,) = token_warnings(tokens(shipped=True))
    assert "trained b / own c" in warning
    assert warning.endswith("so the trained template is shipped")


def test_a_template_that_is_not_shipped_is_not_said_to_be() -> None:
    found = tokens(shipped=False, unwritten="it leaves out tools")
    differs, kept = token_warnings(found)
    assert "shipped" not in differs
    assert "(it leaves out tools), so the model's own is shipped" in kept
    assert "serve with" in kept
    parity = parity_of(found)
    assert parity is not None
    assert "a server sends other prompts than were trained" in parity.message


def test_a_model_without_a_template_is_left_without_one_that_is_wrong() -> None:
    (kept,) = token_warnings(tokens(parity="none", own=None, shipped=False, unwritten="x"))
    assert "so none is shipped" in kept


@pytest.mark.parametrize(("template", "left"), [("own", ["own"]), (None, [])])
def test_what_the_engine_made_of_the_template_does_not_stay_beside_the_adapter(
    tmp_path: Path, template: str | None, left: list[str]
) -> None:
    (tmp_path / "chat_template.jinja").write_text("without tools", encoding="utf-8")
    ship_template(tmp_path, template)
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == left


def test_answers_that_are_not_trained_are_said() -> None:
    found = {**tokens(parity="equal", shipped=None), "untrained_answers": 3}
    assert token_warnings(found) == ["3 answers have the weight 0: they are read, not trained"]
