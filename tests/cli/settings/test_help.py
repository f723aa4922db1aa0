"""`--help` says what a flag means in the command that it is asked of."""

import pytest

from fine_tuning.cli.settings.commands import COMMANDS, catalogue
from fine_tuning.cli.settings.help import command_help, setting_text

OF_A_RUN = ("the bundled", "runs/<model>", "train on the CPU", "before and after training")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_no_other_command_promises_the_defaults_of_run(name: str) -> None:
    for setting in catalogue(COMMANDS[name]).settings.values():
        assert not any(word in setting_text(setting) for word in OF_A_RUN), setting.name


def test_what_a_flag_means_in_one_command_alone_is_said_there() -> None:
    said = " ".join(command_help(COMMANDS["eval"]).split())
    assert "rows to score (default: those that the run held out)" in said
    assert "rows to score (default: all)" in said and "(default: 100)" not in said
    assert "(default: the bundled demo model)" in " ".join(command_help(COMMANDS["run"]).split())
