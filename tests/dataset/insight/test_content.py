"""Checks of one row: what looks wrong, and what only seems to."""

import pytest

from fine_tuning.dataset.insight import content
from fine_tuning.dataset.insight.content import RowText, row_text
from fine_tuning.dataset.insight.rows import Row, Turn


def test_the_answer_is_the_last_one_the_chosen_one_or_the_text() -> None:
    user, answer = Turn("user", "q"), Turn("assistant", "a")
    assert row_text(Row([user, answer, Turn("user", "r"), Turn("assistant", "b")])) == RowText(
        "r", "b"
    )
    assert row_text(Row([user], chosen=answer, rejected=Turn("assistant", "x"))) == RowText(
        "q", "a"
    )
    assert row_text(Row([user, Turn("assistant", "")])) == RowText("", "q")


@pytest.mark.parametrize("answer", ["Yes", " no. ", "positive", "是的", "42"])
def test_an_answer_of_one_word(answer: str) -> None:
    assert content.one_word(RowText("question?", answer))


@pytest.mark.parametrize(
    "answer", ["Yes, it is.", "这是一个完整的答案", "https://a.org/" + "x" * 30]
)
def test_more_than_one_word(answer: str) -> None:
    assert content.one_word(RowText("question?", answer)) is None


@pytest.mark.parametrize("answer", ["<p>Hello</p>", "one<br>two", "Tom &amp; Jerry", "a&#39;s"])
def test_markup_left_in_an_answer(answer: str) -> None:
    assert content.markup(RowText("Tell me.", answer))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Write HTML.", "<p>Hello</p>"),
        ("Show it.", "Use this:\n```\n<p>Hello</p>\n```"),
        ("Solve.", "if a < b and c > d & e then f"),
        ("Think.", "<think>hm</think> yes"),
        ("", "A text about HTML says <p> opens a paragraph."),
    ],
)
def test_markup_that_belongs_there(prompt: str, answer: str) -> None:
    assert content.markup(RowText(prompt, answer)) is None


def test_an_answer_that_repeats_the_prompt() -> None:
    prompt = "What is the capital of France?"
    assert "is the prompt itself" in str(content.repeats_prompt(RowText(prompt, f" {prompt}\n")))
    assert "begins with" in str(content.repeats_prompt(RowText(prompt, f"{prompt} Paris.")))
    assert content.repeats_prompt(RowText("Hi", "Hi there!")) is None
    assert content.repeats_prompt(RowText(prompt, "Paris.")) is None


def test_a_code_block_that_is_not_closed() -> None:
    assert content.open_code_block(RowText("q", "Like this:\n```python\nprint(1)\n"))
    assert content.open_code_block(RowText("q", "```python\nprint(1)\n```\ndone")) is None
    assert content.open_code_block(RowText("q", "three backticks (```) open a block")) is None


@pytest.mark.parametrize(
    ("ending", "cut"),
    [
        ("and then the", True),
        ("然后我们", True),
        ("first,", True),
        ("end.", False),
        ("完。", False),
        ("\n- the last item of a list without a full stop", False),
        ("\n12. the last item of a list without a full stop", False),
        ("\nYours, Anna", False),
        ("\nand so the last paragraph goes on and on until it", True),
    ],
)
def test_an_answer_that_ends_in_the_middle(ending: str, cut: bool) -> None:
    found = content.ends_mid_sentence(RowText("q", "x" * 200 + " " + ending))
    assert (found is not None) == cut
