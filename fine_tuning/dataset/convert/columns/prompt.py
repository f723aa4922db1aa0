"""The prompt of a row: the columns that hold it, what was said before it, and its system prompt."""

from collections.abc import Mapping
from typing import Any

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.dialogue.content import read_content
from fine_tuning.dataset.convert.dialogue.message import Dialogue
from fine_tuning.dataset.convert.dialogue.turns import read_messages
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    are_texts,
    as_list,
    as_messages,
    as_text,
    is_blank,
    type_name,
)
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS

Fields = Mapping[str, Any]


def prompt_of(fields: Fields, notes: Notes) -> Dialogue:
    """The prompt: conversations, a list of messages, or text with input and history."""
    for listed in (
        as_list(fields.get("conversations"), "conversations", notes),
        as_messages(fields.get("prompt"), "prompt", notes),
    ):
        if isinstance(listed, list):
            return read_messages(listed, notes, "prompt messages")
    turns = history_of(fields, notes)
    return Dialogue([*turns, Turn("user", prompt_text(fields, ("prompt", "input"), notes))])


def prompt_text(fields: Fields, columns: tuple[str, ...], notes: Notes) -> str:
    """The columns that are not blank, one under the other, as LLaMA-Factory does."""
    texts = []
    for name in columns:
        value = fields.get(name)
        if name == "input" and are_texts(value):
            texts.append("\n\n".join(value))  # the passages that were found
        else:
            texts.append(as_text(value, name, "prompt_not_text", notes))
    texts.append(
        _choices(fields.get("choices"), fields.get("completion", fields.get("output")), notes)
    )
    asked = "\n".join(text for text in texts if not is_blank(text))
    if not asked and any(fields.get(column) for column in MEDIA_COLUMNS):
        return ""  # a picture alone asks; `read_media` writes its mark
    if not asked:
        named = " and ".join(columns)
        raise Unusable("prompt_missing", f"{named}: missing or blank; expected a prompt")
    return asked


def _choices(value: Any, answer: Any, notes: Notes) -> str:
    """The choices of a question, one a line: lettered, or numbered from 0 if the answer is such."""
    listed = as_list(value, "choices", notes)
    if isinstance(listed, dict) and isinstance(listed.get("text"), list):  # {"label": [...], ...}
        labels = listed.get("label") or []
        listed = dict(zip(map(str, labels), listed["text"], strict=False)) or listed["text"]
    if isinstance(listed, dict):
        pairs = [*listed.items()]
    elif isinstance(listed, (list, tuple)):
        numbered = str(answer).strip().isdecimal() and len(str(answer).strip()) < 3
        first = "0" if numbered else "A"
        pairs = [(chr(ord(first) + number), text) for number, text in enumerate(listed)]
    else:
        return as_text(listed, "choices", "prompt_not_text", notes)
    texts = ((name, as_text(text, "choices", "prompt_not_text", notes)) for name, text in pairs)
    return "\n".join(f"{name}. {text}" for name, text in texts)


def history_of(fields: Fields, notes: Notes) -> list[Turn]:
    """The rounds before the prompt: pairs of a question and its answer."""
    listed = as_list(fields.get("history"), "history", notes)
    if listed is None or (isinstance(listed, str) and is_blank(listed)):
        return []
    if not isinstance(listed, list):
        raise Unusable("history_malformed", f"history is {type_name(listed)}; expected pairs")
    turns = []
    for number, pair in enumerate(listed, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Unusable("history_malformed", f"history entry {number} is not a pair")
        for role, value in zip(("user", "assistant"), pair, strict=True):
            text = as_text(value, f"history entry {number}", "history_malformed", notes)
            if is_blank(text):
                raise Unusable("turn_empty", f"history entry {number} has an empty {role} turn")
            turns.append(Turn(role, text))
    return turns


def system_of(fields: Fields, turn: str, notes: Notes) -> str:
    """The system prompt: that of the column, or of the dialogue's system turn."""
    written = fields.get("system")
    if are_texts(written):
        written = "\n\n".join(written)
    if isinstance(written, dict):  # Gemini's systemInstruction
        written = next((written[k] for k in ("parts", "content", "text") if k in written), written)
    if (
        written
        and isinstance(written, list)
        and all(isinstance(p, dict) and "text" in p for p in written)
    ):
        written = read_content(written, "system", notes).text  # Anthropic's list of text blocks
    column = as_text(written, "system", "system_not_text", notes)
    if is_blank(turn):
        return "" if is_blank(column) else column
    if not is_blank(column) and column != turn:
        raise Unusable("system_conflict", "the system column and the system turn differ")
    return turn
