"""How this program is called, and what a command of it is."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fine_tuning.cli.settings.catalogue import Setting

SCRIPT = "llama_factory_fine_tuning.py"
INSTALLED = ("lfft", "llama-factory-fine-tuning")  # as in pyproject.toml


def program() -> str:
    """How it is called in the documents: the script by Python, or the installed command."""
    name = Path(sys.argv[0]).stem
    return name if name in INSTALLED else f"python {SCRIPT}"


def program_here() -> str:
    """How it was called, for a command that is to be typed next: where the environment is not
    active `python` is another one, and the script may stand in another folder."""
    if Path(sys.argv[0]).name != SCRIPT:
        return program()
    return shlex.join([sys.orig_argv[0], sys.argv[0]])


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: `runner` names its function as `module:function`, which is imported when it is
    called, so that `--help` answers at once. `takes` names settings of RunSpec and DataSpec (None:
    all of them), `options` are its own; `operand` is what words without a flag are: a setting, or
    the name of one that is a flag too; `passes`: whether it takes the engine's arguments too;
    `words` are the help of settings that mean something else in it."""

    name: str
    runner: str
    summary: str
    about: str
    examples: tuple[str, ...]
    takes: tuple[str, ...] | None
    options: tuple[Setting, ...] = ()
    operand: Setting | str | None = None
    usage: str = "[flags]"
    passes: bool = False
    words: Mapping[str, str] = field(default_factory=dict)


def option(
    name: str,
    kind: str,
    help: str,
    metavar: str = "",
    group: str = "command",
    choices: tuple[str, ...] = (),
) -> Setting:
    return Setting(
        name=name,
        kind=kind,  # type: ignore[arg-type]  # literals at the call sites below
        owner="command",
        help=help,
        group=group,
        metavar=metavar,
        choices=choices,
    )
