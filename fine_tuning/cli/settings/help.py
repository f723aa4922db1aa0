"""The text of `--help`, from the same settings that the flags are read with; 80 columns."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap

from fine_tuning.cli.settings.catalogue import Setting, did_you_mean, spec_settings
from fine_tuning.cli.settings.commands import COMMANDS, catalogue
from fine_tuning.cli.settings.words.program import Command, program
from fine_tuning.engine.arguments.installed import EngineArgument
from fine_tuning.engine.arguments.rules import OWNED, SECRETS
from fine_tuning.errors import UsageError

WIDTH = 80
INDENT = 24

GROUPS: Mapping[str, str] = {
    "model": "Base model",
    "data": "Dataset",
    "method": "Method",
    "training": "Training",
    "score": "Score",
    "output": "Output",
    "launch": "Devices, nodes, addresses",
    "command": "This command",
    "files": "Settings from files (flags win over --config, --config over --preset)",
}

OVERVIEW = (
    "From a dataset and a few flags to a fine-tuned, checked and merged model, "
    "with LLaMA-Factory as the engine."
)


def overview() -> str:
    """What `--help` alone prints: the commands, and the flags of `run`."""
    lines = [f"usage: {program()} [command] [flags]", "", *wrap(OVERVIEW, WIDTH), ""]
    lines += ["Commands (`COMMAND --help` for the flags of each)"]
    lines += [line for item in COMMANDS.values() for line in _row(item.name, item.summary)]
    lines += _row("help engine [NAME]", "LLaMA-Factory's own arguments, which `run` takes as well")
    lines += _row("version", "versions of this program and of LLaMA-Factory")
    lines += ["", "Without a command it is `run`. Its flags:", ""]
    return "\n".join([*lines, *_flags(COMMANDS["run"]), *_ending(COMMANDS["run"])])


def command_help(command: Command) -> str:
    """What `COMMAND --help` prints."""
    lines = [
        f"usage: {program()} {command.name} {command.usage}",
        "",
        *wrap(command.about, WIDTH),
        "",
    ]
    return "\n".join([*lines, *_flags(command), *_ending(command)])


def setting_text(setting: Setting) -> str:
    """The meaning, the choices and the default of a setting, in one line."""
    text = setting.help
    if setting.choices:
        text += f": {', '.join(setting.choices)}"
    if "default:" not in setting.help and (default := default_text(setting)):
        text += f" (default: {default})"
    return text


def default_text(setting: Setting) -> str:
    """The default as one would type it; empty if it is `off` or nothing."""
    if setting.default is False or setting.default in (None, (), {}, ""):
        return ""
    if isinstance(setting.default, float):
        return f"{setting.default:g}"
    return str(setting.default)


def metavar(setting: Setting) -> str:
    """The word that stands for the value."""
    if setting.is_bool:
        return ""
    word = setting.metavar or setting.name.rpartition("_")[2].upper()
    word += " ..." if setting.kind == "list" else ""
    return f" [{word}]" if setting.alone else f" {word}"


def grouped(settings: Iterable[Setting]) -> Iterator[tuple[str, list[Setting]]]:
    """The settings by group, titled, in the order of GROUPS; groups unknown there come last."""
    found: dict[str, list[Setting]] = {name: [] for name in GROUPS}
    for setting in settings:
        found.setdefault(setting.group, []).append(setting)
    yield from ((GROUPS.get(name, name.capitalize()), items) for name, items in found.items())


def engine_help(words: Iterable[str], arguments: Mapping[str, EngineArgument]) -> str:
    """The pass-through arguments whose name or meaning contains all the words.

    Raises `UsageError` with the nearest names if there is none.
    """
    wanted = [word.lstrip("-").replace("-", "_").lower() for word in words]
    exact = [arguments[word] for word in wanted if word in arguments]
    found = exact or [
        argument
        for argument in arguments.values()
        if all(word in f"{argument.name} {argument.help}".lower() for word in wanted)
    ]
    if not found:
        nearest = catalogue(COMMANDS["run"]).nearest("_".join(wanted))
        raise UsageError(f"No engine argument matches {' '.join(wanted)}.{did_you_mean(nearest)}")
    lines = [
        line
        for item in found
        for line in _row(f"--{item.name} ({' | '.join(item.types)})", _engine_text(item))
    ]
    if not wanted:
        lines = [*wrap(ENGINE_INTRO, WIDTH), "", *lines]
    return "\n".join(lines)


ENGINE_INTRO = (
    "Arguments of the installed LLaMA-Factory and Transformers. `run` takes them by these names, "
    "as flags and in settings files. `help engine WORD` searches names and meanings."
)


def _engine_text(argument: EngineArgument) -> str:
    name = argument.name
    ours = spec_settings()
    renamed = {item.engine_name: item.name for item in ours.values() if item.engine_name}
    if name in ours or name in renamed:
        return f"-> --{renamed.get(name, name)}, see `run --help`"
    if name in OWNED:
        return f"not to be given: {OWNED[name].instead}"
    if name in SECRETS:
        return f"not to be given: {SECRETS[name]}"
    choices = f" One of {', '.join(argument.choices)}." if argument.choices else ""
    default = f" (default: {argument.default})" if argument.default else ""
    return f"{argument.help}{choices}{default}"


def _flags(command: Command) -> Iterator[str]:
    for title, settings in grouped(catalogue(command).settings.values()):
        if not settings:
            continue
        yield title
        for setting in settings:
            yield from _row(f"--{setting.name}{metavar(setting)}", setting_text(setting))
        yield ""


def _ending(command: Command) -> Iterator[str]:
    if command.passes:
        yield from wrap(
            "Every argument of LLaMA-Factory and of Transformers' trainer works by its own name: "
            "`help engine` lists them, `help engine warmup` searches.",
            WIDTH,
        )
        yield ""
    yield "Examples"
    for example in command.examples:
        words = wrap(
            f"{program()} {command.name} {example}".rstrip(),
            WIDTH - 4,  # room for the backslash
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from (f"  {line} \\" for line in words[:-1])
        yield f"  {words[-1]}"


def _row(head: str, text: str) -> list[str]:
    lines = wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    if len(head) + 4 <= INDENT:
        first = f"  {head:<{INDENT - 2}}{lines[0]}".rstrip()
        return [first, *(" " * INDENT + line for line in lines[1:])]
    return [f"  {head}", *(" " * INDENT + line for line in lines if line)]
