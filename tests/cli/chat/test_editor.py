"""The line editor: what keys make of a line, and what is left of it for the next chat."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from fine_tuning.cli.chat import editor
from fine_tuning.cli.chat.editor import history_file, line_reader

LEFT, UP, ALT_ENTER, CTRL_C = "\x1b[D", "\x1b[A", "\x1b\r", "\x03"


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    name = "LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME"
    monkeypatch.setenv(name, str(tmp_path / "state"))
    yield tmp_path / "state"


def typed(keys: str, *, keeps: bool = True, notes: list[str] | None = None) -> str:
    """The line that these keys give, in a chat of its own."""
    said = [] if notes is None else notes
    with create_pipe_input() as keyboard:
        keyboard.send_text(keys)
        terminal = {"input": keyboard, "output": DummyOutput()}
        read = line_reader(["adapter"], ["a"], keeps=keeps, note=said.append, **terminal)
        return read("> ")


def test_chinese_is_edited_by_characters() -> None:
    assert typed(f"你好世界{LEFT}{LEFT}\x7f们\r") == "你们世界"


@pytest.mark.parametrize("keys", ["one\\\rtwo\r", f"one{ALT_ENTER}two\r"])
def test_a_question_may_have_several_lines(keys: str) -> None:
    assert typed(keys) == "one\ntwo"


def test_ctrl_c_takes_back_what_was_typed_and_then_is_ctrl_c() -> None:
    assert typed(f"no{CTRL_C}yes\r") == "yes"
    with pytest.raises(KeyboardInterrupt):
        typed(f"no{CTRL_C}{CTRL_C}")


def test_a_later_chat_has_the_lines_of_earlier_ones_which_nobody_else_reads() -> None:
    typed("你好\r")
    typed("second\r")
    assert typed(f"{UP}{UP}!\r") == "你好!"
    if os.name != "nt":
        assert stat.S_IMODE(history_file().stat().st_mode) == 0o600


def test_of_a_long_history_the_last_thousand_entries_are_kept() -> None:
    typed("first\r")
    path = history_file()
    line = path.read_text(encoding="utf-8").replace("first", "entry {}\n+of two lines")
    path.write_text("".join(line.format(number) for number in range(1300)), encoding="utf-8")
    assert typed(f"{UP}!\r") == "entry 1299\nof two lines!"
    kept = path.read_text(encoding="utf-8")
    assert kept.count("\n# ") == 1001 and "entry 299\n" not in kept and "+entry 300\n" in kept
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_history_nothing_is_left(state_home: Path) -> None:
    typed("secret\r", keeps=False)
    assert not state_home.exists()


def test_a_history_that_cannot_be_kept_is_said_and_the_chat_goes_on(state_home: Path) -> None:
    state_home.write_text("a file where the folder should be")
    notes: list[str] = []
    assert typed("hello\r", notes=notes) == "hello"
    assert notes[0].startswith("The lines of this chat are not kept:")


@pytest.mark.parametrize(
    ("begun", "found"),
    [
        ("/", ["adapter", "compare", "set"]),
        ("/co", ["compare"]),
        ("/adapter ", ["a/b", "base", "none"]),
        ("/compare base a", ["a/b"]),
        ("/set t", ["temperature", "top_p"]),
        ("/set temperature 0", []),
        ("a /question", []),
        ("two\n/lines", []),
    ],
)
def test_commands_and_names_are_completed(begun: str, found: list[str]) -> None:
    completer = editor._completer(["adapter", "compare", "set"], ["a/b", "base"])
    offered = completer.get_completions(Document(begun), CompleteEvent())
    assert [it.text for it in offered] == found
