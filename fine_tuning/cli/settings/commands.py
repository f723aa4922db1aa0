"""The commands, and which settings each of them takes."""

from collections.abc import Mapping
from dataclasses import replace

from fine_tuning.cli.settings.catalogue import Catalogue, Setting, spec_settings
from fine_tuning.cli.settings.table.asking import ASKING
from fine_tuning.cli.settings.table.looking import LOOKING
from fine_tuning.cli.settings.table.shared import FILES
from fine_tuning.cli.settings.table.sharing import SHARING
from fine_tuning.cli.settings.table.training import TRAINING
from fine_tuning.cli.settings.words.program import Command, option
from fine_tuning.engine.arguments.installed import EngineArgument, engine_arguments

# Every command takes it; main.py looks for it before anything else is understood.
JSON = option(
    "json", "bool", "one object on standard output, all else on standard error", "", "output"
)
COMMANDS: Mapping[str, Command] = {
    command.name: command for command in (*TRAINING, *ASKING, *SHARING, *LOOKING)
}


def catalogue(command: Command) -> Catalogue:
    """The settings that a command takes, and which command takes the others."""
    everything = spec_settings()
    takes = everything if command.takes is None else command.takes
    settings = {item.name: item for item in command.options}
    settings |= {name: in_words_of(command, it) for name, it in everything.items() if name in takes}
    settings["json"] = JSON
    elsewhere: dict[str, str] = {}
    for other in COMMANDS.values():
        for name in (item.name for item in other.options if item not in FILES):
            before = f"{elsewhere[name]}` or `" if name in elsewhere else ""
            elsewhere[name] = before + other.name
    elsewhere |= dict.fromkeys(everything, "run")
    return Catalogue(
        settings=settings,
        engine=_passed_through if command.passes else dict,
        elsewhere={name: other for name, other in elsewhere.items() if name not in settings},
        operand=settings[command.operand] if isinstance(command.operand, str) else command.operand,
    )


def in_words_of(command: Command, setting: Setting) -> Setting:
    """A setting of a run with the help that it has in this command."""
    if command.takes is None:
        return setting
    said = command.words.get(setting.name) or setting.elsewhere or setting.help
    return replace(setting, help=said)


def file_catalogue(command: Command) -> Catalogue:
    """The settings that a settings file of a command may hold: also those of a run, so that one
    file serves both."""
    everything = catalogue(COMMANDS["run"])
    settings = {**everything.settings, **catalogue(command).settings}
    del settings["json"]  # of a command line alone
    return Catalogue(
        settings=settings,
        engine=engine_arguments,
        elsewhere={},
    )


def _passed_through() -> Mapping[str, EngineArgument]:
    """The engine's arguments but for those that are settings of ours, by the same name: they must
    not reach the engine past a command that does not take them."""
    ours = spec_settings()
    return {name: known for name, known in engine_arguments().items() if name not in ours}
