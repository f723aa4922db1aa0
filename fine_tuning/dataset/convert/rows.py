"""One row of each format -> its canonical row. The general path: exact about what is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard

from fine_tuning.dataset.convert.canonical import (
    ChatRow,
    KtoRow,
    PreferenceRow,
    Row,
    TextRow,
    Turn,
)
from fine_tuning.dataset.convert.dialogue.content import read_content, with_reasoning
from fine_tuning.dataset.convert.dialogue.rendered import is_rendered, read_rendered
from fine_tuning.dataset.convert.dialogue.tools import call_turn, tools_text, warn_unlisted_calls
from fine_tuning.dataset.convert.dialogue.turns import (
    Dialogue,
    all_trained,
    check_order,
    end_with_trained,
    read_messages,
)
from fine_tuning.dataset.convert.media import read_media, refuse_answers_with_media
from fine_tuning.dataset.convert.pairs import read_label, read_pair
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    as_list,
    as_messages,
    as_text,
    blankness,
    is_blank,
    type_name,
)
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS

Fields = Mapping[str, Any]

# What a column called `reasoning` holds where it says whether to reason.
REASONING_SWITCHES = ("on", "off", "yes", "no", "true", "false", "none", "low", "medium", "high")

BELLE_TURN = re.compile(r"(?:^|\n)[ \t]*(Human|Assistant)[ \t]*[:：]", re.IGNORECASE)


def instruction(fields: Fields, notes: Notes) -> Row:
    """Alpaca: instruction, input and output, with history and system."""
    turns = _history(fields.get("history"), notes)
    asked = prompt_text(fields, ("instruction", "input"), notes)
    written = fields.get("output")
    written = _only_text(written, "output") if _are_texts(written) else written
    answer = _reasoned(_answer(written, "output", notes), fields, notes)
    return _chat([*turns, Turn("user", asked), _answer_turn(answer, fields)], {}, fields, notes)


def prompt_completion(fields: Fields, notes: Notes) -> ChatRow:
    """A prompt and its completion, each as text or as a list of messages."""
    return _trained(_prompt_completion(fields, notes), notes)


def _prompt_completion(fields: Fields, notes: Notes) -> ChatRow:
    prompt = as_messages(fields.get("prompt"), "prompt", notes)
    if isinstance(prompt, list):
        dialogue = prompt_dialogue(prompt, notes)
    else:
        turns = _history(fields.get("history"), notes)
        dialogue = Dialogue([*turns, Turn("user", prompt_text(fields, ("prompt", "input"), notes))])
    completion = as_messages(fields.get("completion"), "completion", notes)
    if _are_texts(completion):
        completion = _only_text(completion, "completion")
    if not isinstance(completion, list):
        answer = _reasoned(_answer(completion, "completion", notes), fields, notes)
        dialogue.turns.append(_answer_turn(answer, fields))
        return _dialogue(dialogue, fields, notes)
    after = read_messages(completion, notes, "completion messages")
    dialogue.turns += after.turns
    for column, files in after.media.items():
        dialogue.media.setdefault(column, []).extend(files)
    return _dialogue(dialogue, fields, notes)


def messages(fields: Fields, notes: Notes) -> ChatRow:
    """ShareGPT, OpenAI and Anthropic: a list of turns."""
    return _trained(_messages(fields, notes), notes)


def _messages(fields: Fields, notes: Notes) -> ChatRow:
    listed = next(
        (fields[k] for k in ("messages", "conversations", "contents") if k in fields), None
    )
    listed = as_list(listed, "messages", notes)
    if isinstance(listed, str) and is_rendered(listed):
        notes.warn("text_as_turns", "the dialogue is one text: read by the names of its speakers")
        return _dialogue(read_rendered(listed), fields, notes)
    return _dialogue(read_messages(listed, notes), fields, notes)


def belle(fields: Fields, notes: Notes) -> Row:
    """BELLE: alpaca's columns, a dialogue written into `instruction`, or conversations."""
    if fields.get("conversations") is not None:
        return messages(fields, notes)
    written = fields.get("instruction")
    marks = list(BELLE_TURN.finditer(written)) if isinstance(written, str) else []
    if not isinstance(written, str) or not marks or written[: marks[0].start()].strip():
        return instruction(fields, notes)
    turns = _history(fields.get("history"), notes)
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        text = written[mark.end() : after.start() if after else None].strip()
        role = "user" if mark[1].lower() == "human" else "assistant"
        if after is None and role == "assistant" and not text:
            break
        if not text:
            raise Unusable("turn_empty", f"turn {len(turns) + 1} of the dialogue is empty")
        turns.append(Turn(role, text))
    more = as_text(fields.get("input"), "input", "prompt_not_text", notes)
    if not is_blank(more):
        raise Unusable("turn_order", "input is filled although instruction holds a dialogue")
    answer = _reasoned(_answer(fields.get("output"), "output", notes), fields, notes)
    turns.append(Turn("assistant", answer))
    return _chat(turns, {}, fields, notes)


def text(fields: Fields, notes: Notes) -> Row:
    """Text for continued pretraining."""
    value = fields.get("text")
    if value is None:
        raise Unusable("text_missing", "the text column is missing or null")
    if _are_texts(value):  # the lines of a poem, the paragraphs of an article
        value = "\n".join(value)
    value = as_text(value, "text", "text_not_text", notes)
    if is_blank(value):
        raise Unusable("text_empty", f"the text is {blankness(value)}")
    return TextRow([Turn("user", value), Turn("assistant", "")])


def preference(fields: Fields, notes: Notes) -> Row:
    """A prompt with a chosen and a rejected answer, in any of the shapes that `pairs` knows."""
    if fields.get("chosen") is None and fields.get("conversations") is not None:
        fields = _answer_as_chosen(fields, notes)
    pair = read_pair(fields, notes, _prompt_turns)
    check_order(pair.prompt.turns, notes, ends_with_answer=False)
    asked = fields.get("prompt")
    if isinstance(asked, str) and not any(asked.strip() in t.value for t in pair.prompt.turns):
        notes.warn("prompt_unused", "the prompt column differs from the prompt of the dialogues")
    if pair.chosen == pair.rejected:
        notes.warn("pair_equal", "chosen and rejected are the same answer")
    media = read_media(fields, pair.prompt.media, pair.prompt.turns, notes)
    refuse_answers_with_media((pair.chosen.value, pair.rejected.value), media, notes)
    return PreferenceRow(
        all_trained(pair.prompt.turns, notes),
        pair.chosen,
        pair.rejected,
        _system(fields, pair.prompt.system, notes),
        tools_text(fields.get("tools"), notes),
        **media,
    )


def _answer_as_chosen(fields: Fields, notes: Notes) -> Fields:
    """Where only the rejected answer has a column, the dialogue ends with the chosen one."""
    listed = as_list(fields["conversations"], "conversations", notes)
    if not isinstance(listed, list) or len(listed) < 2:
        raise Unusable("pair_incomplete", "the dialogue has no answer to compare the rejected with")
    rest = {"conversations": listed[:-1], "chosen": [listed[-1]]}
    return {**fields, **rest}


def kto(fields: Fields, notes: Notes) -> Row:
    """A dialogue or a prompt with its completion, and whether it is wanted."""
    label = read_label(fields.get("label"), notes)
    whole = fields.get("conversations") is not None
    row = _messages(fields, notes) if whole else _prompt_completion(fields, notes)
    return KtoRow(
        all_trained(row.conversations, notes),
        label,
        row.system,
        row.tools,
        row.images,
        row.videos,
        row.audios,
    )


def prompt_text(fields: Fields, columns: tuple[str, ...], notes: Notes) -> str:
    """The prompt: the columns that are not blank, one under the other, as LLaMA-Factory does."""
    texts = [_prompt_part(fields.get(name), name, notes) for name in columns]
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


def prompt_dialogue(listed: list[Any], notes: Notes) -> Dialogue:
    """A prompt that is a list of messages."""
    return read_messages(listed, notes, "prompt messages")


def _prompt_turns(fields: Fields, notes: Notes) -> Dialogue:
    """The prompt of a pair: conversations, a list of messages, or text with input and history."""
    for listed in (
        as_list(fields.get("conversations"), "conversations", notes),
        as_messages(fields.get("prompt"), "prompt", notes),
    ):
        if isinstance(listed, list):
            return prompt_dialogue(listed, notes)
    turns = _history(fields.get("history"), notes)
    asked = prompt_text(fields, ("prompt", "input"), notes)
    return Dialogue([*turns, Turn("user", asked)])


def _prompt_part(value: Any, column: str, notes: Notes) -> str:
    """The text of a part of a prompt; several texts (the passages that were found) are joined."""
    if column == "input" and _are_texts(value):
        return "\n\n".join(value)
    return as_text(value, column, "prompt_not_text", notes)


def _are_texts(value: Any) -> TypeGuard[Sequence[str]]:
    listed = isinstance(value, (list, tuple)) and len(value) > 0
    return listed and all(isinstance(text, str) for text in value)


def _answer_turn(answer: str, fields: Fields) -> Turn:
    """The last turn: a call, where tools are listed and the answer is a JSON list of calls."""
    if fields.get("tools") and answer.lstrip()[:2] == "[{":
        with suppress(Unusable):
            return Turn("function_call", call_turn(answer))
    return Turn("assistant", answer)


def _only_text(texts: Sequence[str], column: str) -> str:
    """The text of a list that has one; which of several is the answer, only the user knows."""
    if len(texts) > 1:
        what = f"{column} is a list of {len(texts)} texts; expected one (COLUMN.0 names the first)"
        raise Unusable("answer_not_text", what)
    return texts[0]


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


def _reasoned(answer: str, fields: Fields, notes: Notes) -> str:
    """The answer after what the reasoning column holds; a word there is a switch, no reasoning."""
    written = fields.get("reasoning")
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


def _answer(value: Any, column: str, notes: Notes) -> str:
    if value is None:
        notes.lacks_answer("answer_missing", f"{column} is missing or null; expected text")
    if isinstance(value, bool):
        notes.warn("number_as_text", f"{column} is {str(value).lower()}; read as text")
        value = str(value).lower()
    answer = as_text(value, column, "answer_not_text", notes)
    if value is not None and is_blank(answer):
        notes.lacks_answer("answer_empty", f"{column} is {blankness(answer)}; expected an answer")
    return "" if is_blank(answer) else answer


def _history(value: Any, notes: Notes) -> list[Turn]:
    listed = as_list(value, "history", notes)
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


def _system(fields: Fields, turn: str, notes: Notes) -> str:
    written = fields.get("system")
    if _are_texts(written):
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


def _dialogue(dialogue: Dialogue, fields: Fields, notes: Notes) -> ChatRow:
    check_order(dialogue.turns, notes)
    return _chat(dialogue.turns, dialogue.media, fields, notes, dialogue.system)


def _trained(row: ChatRow, notes: Notes) -> ChatRow:
    row.conversations = end_with_trained(row.conversations, notes)
    return row


def _chat(
    turns: list[Turn],
    parts: Mapping[str, list[Any]],
    fields: Fields,
    notes: Notes,
    system: str = "",
) -> ChatRow:
    media = read_media(fields, parts, turns, notes)
    tools = tools_text(fields.get("tools"), notes)
    if any(turn.role == "function_call" for turn in turns):
        warn_unlisted_calls(turns, tools, notes)
    return ChatRow(turns, _system(fields, system, notes), tools, **media)


def rendered(fields: Fields, notes: Notes) -> ChatRow:
    """A dialogue that a template rendered as one text."""
    value = as_text(fields.get("text"), "text", "text_not_text", notes)
    if is_blank(value):
        raise Unusable("text_empty", f"the text is {blankness(value)}")
    return _dialogue(read_rendered(value), fields, notes)


CONVERTERS: Mapping[str, Callable[[Fields, Notes], Row]] = {
    "instruction": instruction,
    "prompt_completion": prompt_completion,
    "messages": messages,
    "belle": belle,
    "text": text,
    "rendered": rendered,
    "preference": preference,
    "kto": kto,
}
