"""The command line: the first word chooses the command, one handler reports every error."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Any

from fine_tuning.cli.output.as_json import of_error, of_outcome, only_json
from fine_tuning.cli.output.outcome import Outcome, Words
from fine_tuning.cli.settings.catalogue import did_you_mean
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.cli.settings.words.argv import LONG_DASHES
from fine_tuning.cli.settings.words.mistyped import ELSEWHERE, SAME
from fine_tuning.disk import files
from fine_tuning.disk.resources import REINSTALL, ROOT
from fine_tuning.errors import (
    EXIT_INTERRUPTED,
    Bug,
    EnvironmentProblem,
    FineTuningError,
    Interrupted,
    UsageError,
)
from fine_tuning.escaping import visible
from fine_tuning.importing import installed_version, uncollected


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code; never raises."""
    words = sys.argv[1:] if argv is None else argv
    # closed by `>&-`, or never opened by a service
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  lives as long as we do
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  lives as long as we do
    for stream in (sys.stdout, sys.stderr):
        # an ASCII locale must not turn a Chinese message into a crash
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with only_json(words) as tell:
        try:
            command, warnings, outcome = dispatch(words)
            tell(partial(of_outcome, command, outcome, warnings))
            return outcome.after() if outcome.after else outcome.code
        except BrokenPipeError:  # `... | head`: nobody reads on
            # Python flushes it once more at the end
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  lives as long as we do
            return EXIT_INTERRUPTED
        except (Exception, KeyboardInterrupt) as error:
            named = named_error(error, words)
            ctrl_c = isinstance(error, KeyboardInterrupt)
            print("\nInterrupted." if ctrl_c else visible(error_text(named)), file=sys.stderr)
            tell(partial(of_error, command_of(words)[0], named))
            return named.exit_code


def named_error(error: BaseException, words: Sequence[str]) -> FineTuningError:
    """Whatever ended a command, as an error with its exit code."""
    if isinstance(error, FineTuningError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted.")
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if files.is_refusal(error):
        return files.explained(error)
    from fine_tuning.cli.output.bug_report import write_bug_report

    report = str(write_bug_report(error, words))
    return Bug(
        f"a bug in this program ({type(error).__name__}: {error}).",
        fix=f"open an issue with this text, which holds no values of flags: {report}",
        where=(report,),
    )


def command_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command that the words name, by its own name if there is such a one, and the others."""
    if not words or words[0].startswith(("-", *LONG_DASHES)):
        return "run", words
    pair = " ".join(words[:2])
    if pair in COMMANDS:
        return pair, words[2:]
    return SAME.get(words[0], words[0]), words[1:]


def dispatch(words: Sequence[str]) -> tuple[str, Sequence[str], Outcome[Any]]:
    """Run the command that the words name, or print the help that they ask for; gives its name,
    what is doubtful about the words, and what came of it."""
    first = words[0] if words else ""
    if first in ("--version", "-V", "version"):
        from fine_tuning import __version__

        engine = installed_version("llamafactory") or "is not installed"
        said = f"llama-factory-fine-tuning {__version__} (llamafactory {engine})"
        return "version", (), _say(said)
    if first == "help":
        return "help", (), _help(words[1:])
    if first in ("--help", "-h"):
        return "help", (), _help([] if words[1:2] and words[1].startswith("-") else words[1:])
    name, rest = command_of(words)
    if name not in COMMANDS:
        raise UsageError(unknown_command(first))
    for position, word in enumerate(rest):
        if word in ("--help", "-h"):
            asked = rest[position + 1 :]
            return "help", (), _help(asked if asked[:1] == ["engine"] else name.split())
    module, _, function = COMMANDS[name].runner.partition(":")
    job = resolve(COMMANDS[name], rest)
    with uncollected():
        run = getattr(import_module(module), function)
    outcome: Outcome[Any] = run(job)
    return name, job.warnings, outcome


def error_text(error: FineTuningError) -> str:
    """An error as it is printed: several mistakes are numbered."""
    if not isinstance(error, UsageError) or len(error.mistakes) < 2:
        return f"error: {error}"
    numbered = (f"  {index}. {text}" for index, text in enumerate(error.mistakes, 1))
    fix = (f"  next: {error.fix}",) if error.fix else ()
    return "\n".join([f"error: {len(error.mistakes)} mistakes", *numbered, *fix])


def missing_package(error: ModuleNotFoundError) -> EnvironmentProblem:
    """What to do about a package that this Python does not have."""
    own = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    fix = f"{REINSTALL}."
    if own.exists() and Path(sys.prefix).resolve() != own.parents[1].resolve():
        fix = f"start it with {quote(str(own))}, where the packages are."
    name = (error.name or str(error)).partition(".")[0]
    return EnvironmentProblem(
        f"The Python package {name} is not installed for {sys.executable}.", fix=fix
    )


def _help(asked: Sequence[str]) -> Outcome[Words]:
    from fine_tuning.cli.settings import help as texts

    words = [word for word in asked if word != "--json"]
    if not words:
        return _say(texts.overview())
    if words[0] == "engine":
        from fine_tuning.engine.arguments.installed import engine_arguments

        return _say(texts.engine_help(words[1:], engine_arguments()))
    name, _ = command_of(words)
    if name not in COMMANDS:
        raise UsageError(unknown_command(words[0]))
    return _say(texts.command_help(COMMANDS[name]))


def _say(text: str) -> Outcome[Words]:
    print(text, flush=True)
    return Outcome(Words(text=text))


def unknown_command(word: str) -> str:
    """What a first word that is no command may have meant, and how that is written."""
    from fine_tuning.dataset.sources.source import is_data_name

    said = f"{word!r} is not a command."
    if word.lower() in ELSEWHERE:
        return f"{said} {ELSEWHERE[word.lower()]}"
    if word.endswith((".yaml", ".yml")):
        return f"{said} A settings file is given as --config {word}."
    if is_data_name(Path(word).name):
        return f"{said} A dataset is given as --dataset_path {word}."
    if "/" in word or Path(word).exists():
        return f"{said} A model is given as --model_name_or_path {word}, a dataset as " + (
            f"--dataset_path {word}, the folder of a run as --output_dir {word}."
        )
    nearest = get_close_matches(word.lower(), [*COMMANDS, *SAME, "version", "help"], 1, 0.65)
    return f"{said}{did_you_mean(nearest, '')} Commands: {', '.join(COMMANDS)}, version, help."
