"""What the worker sends of the tokens is what the front end reads, also from older runs."""

import io
import json

import pytest

from fine_tuning.engine.worker.events import Events
from fine_tuning.errors import DataError
from fine_tuning.values.codec import from_json, to_json
from fine_tuning.values.tokens import RenderingDifference, TokenLook
from tests.looks import OLDER, WRITTEN, look_of


def test_what_the_worker_sends_is_read_as_the_same_value() -> None:
    look = look_of(unreadable={"11": "a.png: cut off"}, validation_overlong={"2": [2000]})
    stream = io.StringIO()
    Events(stream).send("result", {"value": look})
    sent = json.loads(stream.getvalue())["value"]
    assert from_json(sent, TokenLook) == look
    assert list(sent["overlong"]) == ["9", "10"]


def test_names_nesting_and_order_of_the_json_stay_those_of_run_json() -> None:
    look = from_json(WRITTEN, TokenLook)
    assert look.overlong == {9: (600, 1100), 10: (1200,)}
    assert json.dumps(to_json(look)) == json.dumps(WRITTEN)


def test_a_run_of_an_older_version_is_read() -> None:
    look = from_json(OLDER, TokenLook)
    assert (look.over, look.compared, look.untrained_answers) == ({}, 0, 0)
    assert (look.unreadable, look.validation_unreadable) == ({}, {})
    assert look.longest == 1200


def test_a_run_whose_record_was_damaged_says_what_is_missing() -> None:
    damaged = {name: value for name, value in WRITTEN.items() if name != "cutoff"}
    with pytest.raises(DataError, match=r"run\.json cannot be read.*`cutoff`"):
        from_json(damaged, TokenLook)


def test_a_row_that_a_template_refuses_has_no_tokens_in_the_json() -> None:
    """With empty fields in it the hash of an old run's template would be another."""
    refused = RenderingDifference(trained="ab", served="(refused)", at=0)
    assert to_json(refused) == {"trained": "ab", "served": "(refused)", "at": 0}
    assert from_json(to_json(refused), RenderingDifference) == refused
    assert refused.beside == ("(end)", "(end)")


def test_a_few_tokens_are_shown_from_the_first_that_differs() -> None:
    own = ("a", "c", "d", "e", "f", "g", "h")
    found = RenderingDifference(
        trained="", served="", trained_tokens=("a",), served_tokens=own, at=1
    )
    assert found.beside == ("(end)", "c d e f g")
