"""docs/settings.md documents every setting, as it is."""

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
