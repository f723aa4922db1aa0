"""docs/settings.md documents every setting, docs/json.md every result, as they are."""

from fine_tuning.cli.output import page as json_page
from fine_tuning.cli.settings.catalogue import spec_settings
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "run `python -m fine_tuning.cli.settings.page`"


def test_the_page_names_every_flag() -> None:
    text = page()
    options = [item.name for command in COMMANDS.values() for item in command.options]
    for name in (*spec_settings(), *options):
        assert f"| `--{name}` |" in text


def test_the_page_for_programs_is_up_to_date() -> None:
    written = json_page.PAGE.read_text(encoding="utf-8")
    assert written == json_page.page(), "run `python -m fine_tuning.cli.output.page`"
