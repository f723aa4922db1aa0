"""The answer of a row, with the reasoning that another column holds."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.dialogue.content import with_reasoning
from fine_tuning.dataset.convert.dialogue.tools import call_turn
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    are_texts,
    as_text,
    blankness,
    is_blank,
)

# What a column called `reasoning` holds where it says whether to reason.
REASONING_SWITCHES = ("on", "off", "yes", "no", "true", "false", "none", "low", "medium", "high")


def answer_of(value: Any, column: str, fields: Mapping[str, Any], notes: Notes) -> str:
    """The text of an answer, behind its reasoning; of a list its one text: which of several is the
    answer, only the user knows."""
    if are_texts(value):
        if len(value) > 1:
            what = (
                f"{column} is a list of {len(value)} texts; expected one (COLUMN.0 names the first)"
            )
            raise Unusable("answer_not_text", what)
        value = value[0]
    if value is None:
        notes.lacks_answer("answer_missing", f"{column} is missing or null; expected text")
    if isinstance(value, bool):
        notes.warn("number_as_text", f"{column} is {str(value).lower()}; read as text")
        value = str(value).lower()
    answer = as_text(value, column, "answer_not_text", notes)
    if value is not None and is_blank(answer):
        notes.lacks_answer("answer_empty", f"{column} is {blankness(answer)}; expected an answer")
    return _reasoned("" if is_blank(answer) else answer, fields.get("reasoning"), notes)


def answer_turn(answer: str, fields: Mapping[str, Any]) -> Turn:
    """The last turn: a call, where tools are listed and the answer is a JSON list of calls."""
    if fields.get("tools") and answer.lstrip()[:2] == "[{":
        with suppress(Unusable):
            return Turn("function_call", call_turn(answer))
    return Turn("assistant", answer)


def _reasoned(answer: str, written: Any, notes: Notes) -> str:
    """The answer after what the reasoning column holds; a word there is a switch, no reasoning."""
    if written is None or isinstance(written, (bool, dict)) or written in REASONING_SWITCHES:
        return answer
    reasoning = as_text(written, "reasoning", "turn_not_text", notes)
    if "<think>" in answer or "</think>" in answer:
        if reasoning.strip() not in answer:
            notes.warn(
                "reasoning_ignored", "the answer has its own <think>: the column is not read"
            )
        return answer
    if reasoning.lstrip().startswith("<think>"):
        return f"{reasoning.rstrip()}\n\n{answer}"
    return with_reasoning(answer, reasoning)
