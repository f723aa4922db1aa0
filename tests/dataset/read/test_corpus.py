"""Each odd file of the corpus gives exactly the records, lines and problems that it must."""

import hashlib
import re

import pytest

from .conftest import Read
from .corpus import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_oddity_is_read_and_named(read: Read, case: Case) -> None:
    outcome = read(case.name, case.content)
    assert outcome.rows == case.rows
    assert outcome.problems == case.problems
    assert outcome.reading.sha256 == hashlib.sha256(case.content).hexdigest()
    if not any(code in ("not_text", "damaged_file") for code in outcome.codes):
        assert outcome.reading.encoding == case.encoding


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_messages_are_sentences_without_python(read: Read, case: Case) -> None:
    for message in read(case.name, case.content).messages:
        assert "Traceback" not in message
        assert "Error:" not in message
        assert len(re.sub("`.*`", "", message)) < 400  # without a command to copy


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
