"""One row of each format -> its canonical row. The general path: exact about what is wrong."""

import re
from collections.abc import Callable, Mapping

from fine_tuning.dataset.convert.canonical import (
    ChatRow,
    KtoRow,
    PreferenceRow,
    Row,
    TextRow,
    Turn,
)
from fine_tuning.dataset.convert.columns.answer import answer_of, answer_turn
from fine_tuning.dataset.convert.columns.media import read_media, refuse_answers_with_media
from fine_tuning.dataset.convert.columns.pairs import read_label, read_pair
from fine_tuning.dataset.convert.columns.prompt import (
    Fields,
    history_of,
    prompt_of,
    prompt_text,
    system_of,
)
from fine_tuning.dataset.convert.dialogue.message import Dialogue
from fine_tuning.dataset.convert.dialogue.order import all_trained, check_order, end_with_trained
from fine_tuning.dataset.convert.dialogue.rendered import is_rendered, read_rendered
from fine_tuning.dataset.convert.dialogue.tools import tools_text, warn_unlisted_calls
from fine_tuning.dataset.convert.dialogue.turns import read_messages
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    are_texts,
    as_list,
    as_messages,
    as_text,
    blankness,
    is_blank,
)

BELLE_TURN = re.compile(r"(?:^|\n)[ \t]*(Human|Assistant)[ \t]*[:：]", re.IGNORECASE)


def instruction(fields: Fields, notes: Notes) -> Row:
    """Alpaca: instruction, input and output, with history and system."""
    turns = history_of(fields, notes)
    asked = prompt_text(fields, ("instruction", "input"), notes)
    answer = answer_of(fields.get("output"), "output", fields, notes)
    dialogue = Dialogue([*turns, Turn("user", asked), answer_turn(answer, fields)])
    return _chat(dialogue, fields, notes)


def prompt_completion(fields: Fields, notes: Notes) -> ChatRow:
    """A prompt and its completion, each as text or as a list of messages."""
    dialogue = prompt_of(fields, notes)
    completion = as_messages(fields.get("completion"), "completion", notes)
    if isinstance(completion, list) and not are_texts(completion):
        after = read_messages(completion, notes, "completion messages")
        dialogue.turns += after.turns
        for column, files in after.media.items():
            dialogue.media.setdefault(column, []).extend(files)
    else:
        answer = answer_of(completion, "completion", fields, notes)
        dialogue.turns.append(answer_turn(answer, fields))
    check_order(dialogue.turns, notes)
    return _chat(dialogue, fields, notes)


def messages(fields: Fields, notes: Notes) -> ChatRow:
    """ShareGPT, OpenAI and Anthropic: a list of turns."""
    listed = next(
        (fields[k] for k in ("messages", "conversations", "contents") if k in fields), None
    )
    listed = as_list(listed, "messages", notes)
    if isinstance(listed, str) and is_rendered(listed):
        notes.warn("text_as_turns", "the dialogue is one text: read by the names of its speakers")
        dialogue = read_rendered(listed)
    else:
        dialogue = read_messages(listed, notes)
    check_order(dialogue.turns, notes)
    return _chat(dialogue, fields, notes)


def belle(fields: Fields, notes: Notes) -> Row:
    """BELLE: alpaca's columns, a dialogue written into `instruction`, or conversations."""
    if fields.get("conversations") is not None:
        return trained(messages)(fields, notes)
    written = fields.get("instruction")
    marks = list(BELLE_TURN.finditer(written)) if isinstance(written, str) else []
    if not isinstance(written, str) or not marks or written[: marks[0].start()].strip():
        return instruction(fields, notes)
    turns = history_of(fields, notes)
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
    answer = answer_of(fields.get("output"), "output", fields, notes)
    return _chat(Dialogue([*turns, Turn("assistant", answer)]), fields, notes)


def text(fields: Fields, notes: Notes) -> Row:
    """Text for continued pretraining."""
    value = fields.get("text")
    if value is None:
        raise Unusable("text_missing", "the text column is missing or null")
    if are_texts(value):  # the lines of a poem, the paragraphs of an article
        value = "\n".join(value)
    value = as_text(value, "text", "text_not_text", notes)
    if is_blank(value):
        raise Unusable("text_empty", f"the text is {blankness(value)}")
    return TextRow([Turn("user", value), Turn("assistant", "")])


def preference(fields: Fields, notes: Notes) -> Row:
    """A prompt with a chosen and a rejected answer, in any of the shapes that `pairs` knows."""
    pair = read_pair(fields, notes)
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
        system_of(fields, pair.prompt.system, notes),
        tools_text(fields.get("tools"), notes),
        **media,
    )


def kto(fields: Fields, notes: Notes) -> Row:
    """A dialogue or a prompt with its completion, and whether it is wanted."""
    label = read_label(fields.get("label"), notes)
    whole = fields.get("conversations") is not None
    row = (messages if whole else prompt_completion)(fields, notes)
    return KtoRow(
        all_trained(row.conversations, notes),
        label,
        row.system,
        row.tools,
        row.images,
        row.videos,
        row.audios,
    )


def _chat(dialogue: Dialogue, fields: Fields, notes: Notes) -> ChatRow:
    media = read_media(fields, dialogue.media, dialogue.turns, notes)
    tools = tools_text(fields.get("tools"), notes)
    if any(turn.role == "function_call" for turn in dialogue.turns):
        warn_unlisted_calls(dialogue.turns, tools, notes)
    system = system_of(fields, dialogue.system, notes)
    return ChatRow(dialogue.turns, system, tools, **media)


def trained(convert: Callable[[Fields, Notes], ChatRow]) -> Callable[[Fields, Notes], ChatRow]:
    """The same without the turns behind the last answer that is trained."""

    def converted(fields: Fields, notes: Notes) -> ChatRow:
        row = convert(fields, notes)
        row.conversations = end_with_trained(row.conversations, notes)
        return row

    return converted


def rendered(fields: Fields, notes: Notes) -> ChatRow:
    """A dialogue that a template rendered as one text."""
    value = as_text(fields.get("text"), "text", "text_not_text", notes)
    if is_blank(value):
        raise Unusable("text_empty", f"the text is {blankness(value)}")
    dialogue = read_rendered(value)
    check_order(dialogue.turns, notes)
    return _chat(dialogue, fields, notes)


CONVERTERS: Mapping[str, Callable[[Fields, Notes], Row]] = {
    "instruction": instruction,
    "prompt_completion": trained(prompt_completion),
    "messages": trained(messages),
    "belle": belle,
    "text": text,
    "rendered": rendered,
    "preference": preference,
    "kto": kto,
}
