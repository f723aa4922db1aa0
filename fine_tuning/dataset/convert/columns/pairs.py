"""Preference pairs and KTO labels, in the shapes that datasets have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.columns.prompt import prompt_of
from fine_tuning.dataset.convert.dialogue.message import Dialogue
from fine_tuning.dataset.convert.dialogue.order import all_trained
from fine_tuning.dataset.convert.dialogue.turns import read_messages
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    as_list,
    as_messages,
    as_text,
    blankness,
    is_blank,
    shown,
    type_name,
)
from fine_tuning.dataset.recognise.formats import label_names

HH_TURN = re.compile(r"\n\n(Human|Assistant):")


@dataclass
class Pair:
    """A prompt and its two answers."""

    prompt: Dialogue
    chosen: Turn
    rejected: Turn


def read_pair(fields: Mapping[str, Any], notes: Notes) -> Pair:
    """The pair of a row. With answers that are whole dialogues the prompt is what they share; where
    only the rejected answer has a column, the dialogue ends with the chosen one."""
    if fields.get("chosen") is None and fields.get("conversations") is not None:
        listed = as_list(fields["conversations"], "conversations", notes)
        if not isinstance(listed, list) or len(listed) < 2:
            missing = "the dialogue has no answer to compare the rejected with"
            raise Unusable("pair_incomplete", missing)
        fields = {**fields, "conversations": listed[:-1], "chosen": [listed[-1]]}
    answers = [_side(fields, name, notes) for name in ("chosen", "rejected")]
    if all(len(answer.turns) > 1 for answer in answers):
        return _shared_prompt(*answers)
    if any(len(answer.turns) != 1 for answer in answers):
        raise Unusable("pair_diverges", "one answer is a dialogue and the other a single turn")
    if any(answer.media for answer in answers):
        raise Unusable("media_count", "an answer brings a file along; files go to the prompt")
    chosen, rejected = (_one_answer(answer.turns[0]) for answer in answers)
    return Pair(prompt_of(fields, notes), chosen, rejected)


def read_label(value: Any, notes: Notes) -> bool:
    """A KTO label: true or false, or one of the ways to write them (0/1, "true", thumbs)."""
    if isinstance(value, bool):
        return value
    if value is None or (isinstance(value, str) and is_blank(value)):
        raise Unusable("label_missing", "label is missing or null; expected true or false")
    if isinstance(value, (str, int, float)):
        label = label_names().get(str(value).strip().lower())
        if label is not None:
            notes.labels[f"{shown(value)} -> {'true' if label else 'false'}"] += 1
            return label
    raise Unusable("label_invalid", f"label is {shown(value)}; expected true or false")


def _side(fields: Mapping[str, Any], name: str, notes: Notes) -> Dialogue:
    value = as_messages(fields.get(name), name, notes)
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        dialogue = read_messages(value, notes, f"{name} messages")
        dialogue.turns = all_trained(dialogue.turns, notes)
        return dialogue
    if value is None:
        raise Unusable("pair_incomplete", f"{name} is missing or null; expected an answer")
    if isinstance(value, str) and HH_TURN.match(value):
        return _hh_dialogue(value)
    if isinstance(value, bool):
        raise Unusable("pair_incomplete", f"{name} is {type_name(value)}; expected an answer")
    text = as_text(value, name, "answer_not_text", notes)
    if is_blank(text):
        raise Unusable("answer_empty", f"{name} is {blankness(text)}; expected an answer")
    return Dialogue([Turn("assistant", text)])


def _hh_dialogue(text: str) -> Dialogue:
    """Anthropic's hh-rlhf: one text with "Human:" and "Assistant:" paragraphs."""
    marks = list(HH_TURN.finditer(text))
    dialogue = Dialogue()
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        value = text[mark.end() : after.start() if after else None].strip()
        role = "user" if mark[1] == "Human" else "assistant"
        if not value:
            code = "turn_empty" if after or role == "user" else "answer_empty"
            raise Unusable(code, f"turn {len(dialogue.turns) + 1} of the dialogue is empty")
        dialogue.turns.append(Turn(role, value))
    return dialogue


def _shared_prompt(chosen: Dialogue, rejected: Dialogue) -> Pair:
    shared = chosen.turns[:-1]
    if rejected.turns[:-1] != shared or chosen.system != rejected.system:
        raise Unusable(
            "pair_diverges",
            "chosen and rejected differ before their last turn; expected one prompt",
        )
    last = (_one_answer(dialogue.turns[-1]) for dialogue in (chosen, rejected))
    return Pair(Dialogue(shared, chosen.system, chosen.media), *last)


def _one_answer(turn: Turn) -> Turn:
    if turn.role not in ("assistant", "function_call"):
        raise Unusable(
            "last_turn_not_assistant", f"an answer is from {turn.role}; expected assistant"
        )
    return turn
