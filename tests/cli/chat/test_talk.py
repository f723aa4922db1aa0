"""The conversation at a terminal, with a model that answers what it was asked."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fine_tuning.cli.chat.paper import Paper
from fine_tuning.cli.chat.talk import State, Table, converse
from fine_tuning.errors import EXIT_DONE, EXIT_INTERRUPTED, EngineError, Interrupted
from fine_tuning.values.answers.chat import Answer, Ended, Sampling, Talk


@dataclass
class Echo:
    """Answers with the model's name, the system prompt, and the number of rounds before."""

    names: tuple[str, ...] = ("tuned", "base")
    keeps_history: bool = True
    ended: Ended = "stop"
    asked: list[str] = field(default_factory=list)

    def answer(
        self,
        talk: Talk,
        question: str,
        how: Sampling,
        *,
        who: str,
        on_text: Callable[[str], None],
    ) -> Answer:
        self.asked.append(question)
        if question == "fail":
            raise EngineError("It failed.")
        if question == "twice":
            raise Interrupted("Interrupted.")
        text = f"<think>\nhm\n</think>\n\n{who} [{talk.system}] {len(talk.rounds)}"
        on_text(text)
        return Answer(text=text, tokens=9, ended=self.ended)


def talked(*lines: str | BaseException, model: Echo | None = None) -> tuple[int, str, str]:
    """The exit code, the answers, and all else that a person sees."""

    given = iter(lines)

    def read(prompt: str) -> str:
        line = next(given, None)
        if line is None:
            raise EOFError
        if isinstance(line, BaseException):
            raise line
        return line

    out, err = io.StringIO(), io.StringIO()
    paper = Paper(out, err, colour=True)
    model = model or Echo()
    state = State(who=model.names[0])
    code = converse(state, Table(answers=model, paper=paper, read=read))
    return code, out.getvalue(), err.getvalue()


def test_rounds_are_kept_until_they_are_cleared() -> None:
    code, out, _ = talked("a", "b", "/clear", "c")
    assert code == EXIT_DONE
    assert out == "tuned [] 0\ntuned [] 1\ntuned [] 0\n"


def test_a_system_prompt_stays_when_the_conversation_is_cleared() -> None:
    assert talked("/system Be brief.", "/clear", "a", "/system", "b")[1] == (
        "tuned [Be brief.] 0\ntuned [] 1\n"
    )


def test_base_and_tuned_are_switched_in_one_conversation() -> None:
    assert talked("/base", "a", "/tuned", "b")[1] == "base [] 0\ntuned [] 1\n"


def test_both_answer_side_by_side_without_their_reasoning() -> None:
    _, out, _ = talked("/compare who?", "a", "/compare", "b")
    rows = [line.split("│")[1:3] for line in out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["base [] 0", "tuned [] 0"],
        ["base [] 2", "tuned [] 2"],
    ]
    assert "hm" not in out


def columns(out: str) -> list[list[str]]:
    """The cells of every table."""
    rows = [re.split("[│┃]", line)[1:-1] for line in out.splitlines() if line[0] in "│┃"]
    return [[cell.strip() for cell in row] for row in rows]


SEVERAL = ("a", "b/x", "base")


def test_adapters_are_listed_and_switched_by_name() -> None:
    lines = ("/adapter", "1", "/adapter b/x", "2", "/adapter none", "3", "/adapter c", "4")
    _, out, said = talked(*lines, model=Echo(names=SEVERAL))
    assert out == "a [] 0\nb/x [] 1\nbase [] 2\nbase [] 3\n"
    assert said.startswith("* a\n  b/x\n  base\n")
    assert "b/x answers from here on." in said and "There is no c; there are a, b/x, base." in said


def test_any_of_the_adapters_are_compared_once_or_from_now_on() -> None:
    _, out, said = talked(
        "/compare a b/x who is it?",
        "/compare b/x",
        "who?",
        "/compare",
        "alone",
        "/compare a b",
        model=Echo(names=SEVERAL),
    )
    assert columns(out) == [
        ["a", "b/x"],
        ["a [] 0", "b/x [] 0"],
        ["a", "b/x"],
        ["a [] 1", "b/x [] 1"],
        ["base", "a"],  # `a` before a question is a word of it
        ["base [] 3", "a [] 3"],
    ]
    assert "Each question is answered by a and b/x." in said and "a [] 2\n" in out


def test_reasoning_is_dim_and_no_part_of_the_answer() -> None:
    _, out, err = talked("a")
    assert out == "tuned [] 0\n" and "\x1b[2m\nhm\n\x1b[0m" in err


@pytest.mark.parametrize("command", ["/base", "/compare", "/compare who?"])
def test_a_model_without_a_base_says_so(command: str) -> None:
    model = Echo(names=("tuned",))
    _, out, err = talked(command, model=model)
    assert "There is no base model" in err and not out and not model.asked


def test_text_that_is_continued_has_no_history() -> None:
    assert talked("a", "b", model=Echo(keeps_history=False))[1] == "tuned [] 0\ntuned [] 0\n"


def test_an_error_does_not_end_the_conversation() -> None:
    code, out, err = talked("fail", "a", "/nope", "/quit", "b")
    assert code == EXIT_DONE and out == "\ntuned [] 0\n"
    assert "error: It failed." in err and "no /nope" in err


def test_ctrl_c_once_is_forgiven_and_twice_ends() -> None:
    assert talked(KeyboardInterrupt(), "a", KeyboardInterrupt(), "/quit")[0] == EXIT_DONE
    code, _, err = talked(KeyboardInterrupt(), KeyboardInterrupt(), "a")
    assert code == EXIT_INTERRUPTED and "Ctrl-C again" in err
    assert talked("twice", "a")[0] == EXIT_INTERRUPTED


@pytest.mark.parametrize(("ended", "said"), [("length", "cut after 9"), ("asked", "stopped")])
def test_an_answer_that_did_not_end_by_itself_is_marked(ended: Ended, said: str) -> None:
    assert said in talked("a", model=Echo(ended=ended))[2]


def test_help_lists_every_command() -> None:
    err = talked("/help")[2]
    assert all(
        name in err
        for name in (
            "/clear",
            "/system TEXT",
            "/adapter [NAME]",
            "/compare [NAMES] [TEXT]",
            "/quit",
        )
    )


def test_numbers_are_set_and_wrong_ones_are_said() -> None:
    _, _, said = talked(
        "/set temperature 0.7", "/set top_p 2", "/set heat 1", "/set top_p x", "/set"
    )
    assert "max_new_tokens 1024, temperature 0.7, top_p 1" in said
    assert "top_p must be above 0 and at most 1, not 2." in said
    assert "There is no setting heat; there are max_new_tokens, temperature, top_p." in said
    assert "top_p must be a number, not 'x'." in said


def test_a_question_is_asked_again_without_its_first_answer() -> None:
    model = Echo()
    _, out, said = talked("/again", "one", "two", "/again", model=model)
    assert model.asked == ["one", "two", "two"]
    assert "Nothing was asked yet." in said
    assert out.count("tuned [] 1") == 2


def test_a_conversation_is_saved_as_a_row_to_train_on(tmp_path: Path) -> None:
    path = tmp_path / "my chats.jsonl"
    _, _, said = talked(
        "/system Be kind.", "one", f"/save {path}", "two", f"/save {path}", "/save x"
    )
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert len(second["messages"]) == 5
    assert "1 round added to" in said and "ends with .jsonl" in said
    _, _, said = talked("one", f"/save {tmp_path / 'no' / 'such.jsonl'}")
    assert "cannot be written: No such file or directory." in said
