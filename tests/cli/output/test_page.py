"""docs/json.md says what the commands print."""

import dataclasses
import re
import typing
from typing import Annotated

import pytest

from fine_tuning.cli.output.page import page, result_types
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.words.program import Command


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_each_field_of_a_result_is_explained(command: Command) -> None:
    for kind in result_types(command):
        assert kind.__doc__
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            assert typing.get_origin(hint) is Annotated, f"{kind.__name__}.{name} has no meaning"


def test_a_command_that_returns_a_number_is_told_what_to_return() -> None:
    old = dataclasses.replace(COMMANDS["runs"], runner="fine_tuning.cli.main:main")
    with pytest.raises(TypeError, match="must be annotated with the Outcome"):
        result_types(old)


def test_every_link_of_the_page_leads_somewhere() -> None:
    text = page()
    headings = {line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")}
    places = headings | set(re.findall(r'<a id="(\w+)">', text))
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= places
