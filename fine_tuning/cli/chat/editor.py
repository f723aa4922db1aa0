"""The line editor of a chat: several lines, completion, and a history that lasts."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fine_tuning.disk import files
from fine_tuning.values.answers.chat import Sampling

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

PROGRAM = "llama-factory-fine-tuning"
GOES_ON = "\\"  # at the end of a line
ENTRY = "\n# "  # begins one in a FileHistory of prompt_toolkit; its lines begin with a plus
KEPT, MOST = 1000, 1200  # entries; the file is not written anew each time
Read = Callable[[str], str]


def line_reader(
    commands: Sequence[str],
    names: Sequence[str],
    *,
    keeps: bool,
    note: Callable[[str], None],
    **terminal: Any,
) -> Read:
    """Reads a line at the terminal, or several: Alt-Enter, or a backslash before Enter, goes on.

    Completes `commands` behind a `/`, and `names` of who can answer. `keeps`: earlier lines come
    back with the arrow keys, also those of earlier chats; `note` says if they cannot. Where answers
    go to a file, the editor is drawn on standard error; where that is none either, nothing is
    edited. `terminal`: another `input` and `output` of prompt_toolkit.
    """
    if not terminal and not (sys.stdin.isatty() and sys.stderr.isatty()):
        return _read_plainly
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    if not terminal and not sys.stdout.isatty():
        terminal = {"output": create_output(stdout=sys.stderr)}
    session: PromptSession[str] = PromptSession(
        history=_history(keeps, note),
        completer=_completer(commands, names),
        key_bindings=_keys(),
        prompt_continuation="  ",
        multiline=True,
        reserve_space_for_menu=4,
        **terminal,
    )
    return session.prompt


def history_file() -> Path:
    """Where the lines are kept: in the user's folder for what programs remember, never in a run."""
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        place = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(place) / PROGRAM / "chat_history"


def _history(keeps: bool, note: Callable[[str], None]) -> "History":
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = history_file()
    if keeps:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.chmod(0o600)  # questions are nobody else's business
            # Leave the last entries of a history that has grown long.
            entries = path.read_text(encoding="utf-8", errors="replace").split(ENTRY)
            if len(entries) > MOST:
                files.write_text(path, "".join(ENTRY + entry for entry in entries[-KEPT:]))
            return FileHistory(str(path))
        except OSError as error:
            note(f"The lines of this chat are not kept: {path}: {error.strerror}.")
    return InMemoryHistory()


def _keys() -> "KeyBindings":
    """Enter ends the input, unless a backslash stands before it; Alt-Enter never does. Ctrl-C takes
    back what was typed, and on an empty line is what it always is."""
    from prompt_toolkit.filters import Condition, completion_is_selected
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter", filter=~completion_is_selected)
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith(GOES_ON):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("enter", filter=completion_is_selected)
    def _(event: Any) -> None:
        event.current_buffer.complete_state = None

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    typed = Condition(lambda: bool(_buffer_text()))

    @keys.add("c-c", filter=typed)
    def _(event: Any) -> None:
        event.current_buffer.reset()

    return keys


def _buffer_text() -> str:
    from prompt_toolkit.application.current import get_app

    return get_app().current_buffer.text


def _completer(commands: Sequence[str], names: Sequence[str]) -> Any:
    """What a line that begins with `/` can go on with."""
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    settings = [item.name for item in fields(Sampling)]
    words = {"adapter": [*names, "none"], "compare": names, "set": settings}

    class Commands(Completer):
        def get_completions(
            self, document: "Document", event: "CompleteEvent"
        ) -> "Iterable[Completion]":
            before = document.text_before_cursor
            name, space, argument = before.removeprefix("/").partition(" ")
            if not before.startswith("/") or "\n" in before:
                return
            if not space:
                yield from _beginning(name, commands)
            elif name == "save":
                yield from PathCompleter(expanduser=True).get_completions(Document(argument), event)
            elif name != "set" or " " not in argument:
                yield from _beginning(argument.rpartition(" ")[2], words.get(name, ()))

    def _beginning(begun: str, among: Iterable[str]) -> "Iterable[Completion]":
        return (Completion(it, -len(begun)) for it in among if it.startswith(begun))

    return Commands()


def _read_plainly(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
