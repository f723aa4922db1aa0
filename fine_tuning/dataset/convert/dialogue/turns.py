"""A list of messages -> a dialogue: canonical turns, a system prompt, and the messages' media."""

from collections.abc import Sequence
from typing import Any

from fine_tuning.dataset.convert.dialogue.message import Dialogue, read_message
from fine_tuning.dataset.convert.dialogue.pairing import in_call_order
from fine_tuning.dataset.convert.dialogue.speakers import ROLE_KEYS, with_role
from fine_tuning.dataset.convert.values import Notes, Unusable, is_blank, type_name
from fine_tuning.dataset.recognise.formats import role_names

# What a message without a role may be: one round of a dialogue, its two turns by these names.
ROUNDS = (
    *(("input", "output"), ("prompt", "response"), ("prompt", "completion"), ("query", "response")),
    *(("question", "answer"), ("instruction", "output"), ("instruction", "response"), ("q", "a")),
    *(("Q", "A"), ("question", "response"), ("query", "answer"), ("prompt", "answer")),
)


def read_messages(messages: Any, notes: Notes, what: str = "messages") -> Dialogue:
    """Every message read and named; the order is checked by `check_order`."""
    if messages is None:
        raise Unusable("messages_missing", f"{what} are missing; expected a list of turns")
    messages = _by_turn(messages, what, notes)
    if not isinstance(messages, list):
        python = isinstance(messages, str) and messages.lstrip()[:2] in ("[{", "['")
        hint = " (no JSON: write it with json.dumps, not with print or str)" if python else ""
        message = f"{what} are {type_name(messages)}; expected a list{hint}"
        raise Unusable("messages_not_list", message)
    if not messages:
        raise Unusable("messages_missing", f"{what} are an empty list")
    dialogue = Dialogue()
    of = "" if what == "messages" else f" of {what}"
    texts = all(isinstance(message, str) for message in messages)
    if texts and len(messages) > 1 and what == "messages":
        messages = _by_turns(messages, what, notes)
    messages = [turn for message in messages for turn in _turns_within(notes.tags.ours(message))]
    messages = in_call_order(messages, of, notes)
    for number, message in enumerate(messages, 1):
        read_message(message, f"turn {number}{of}", number == 1, dialogue, notes)
    return dialogue


def _by_turns(texts: list[str], what: str, notes: Notes) -> list[Any]:
    """Texts of two who speak by turns, up to the last answer."""
    message = f"{what} are plain texts: read as user and assistant by turns"
    if len(texts) % 2:
        message = (
            f"{what} are plain texts: read as user and assistant by turns, without the last one,"
            " which has no answer"
        )
    notes.warn("texts_as_turns", message)
    roles = ("user", "assistant")
    answered = texts[: len(texts) // 2 * 2]
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(answered)]


def _turns_within(message: Any) -> Sequence[Any]:
    """The messages of a list's element: itself, or the turns that its keys name.

    `{"human": ..., "assistant": ...}` is a round, as is `{"input": ..., "output": ...}`.
    """
    if not isinstance(message, dict):
        return (message,)
    message = with_role(message)
    if any(message.get(key) is not None for key in ROLE_KEYS):
        return (message,)
    by_key = {key: role for key in message if (role := role_names().get(key.strip().lower()))}
    pair = next((pair for pair in ROUNDS if all(message.get(key) is not None for key in pair)), ())
    by_key |= dict(zip(pair, ("user", "assistant"), strict=False))
    turns = {key: role for key, role in by_key.items() if message[key] is not None}
    roles = {*turns.values()}
    if not (roles >= {"user", "assistant"} or len(message) == 1 == len(turns)):
        return (message,)  # `model` or `function` may also be facts about a message
    if roles - {"user", "assistant", "system"}:
        return (message,)
    rest = {key: value for key, value in message.items() if key not in by_key}
    order = ("system", "user", "assistant")
    return [
        {"role": role, "content": message[key], **(rest if role == "assistant" else {})}
        for key, role in sorted(turns.items(), key=lambda turn: order.index(turn[1]))
        if role != "system" or not is_blank(str(message[key]))
    ]


def _by_turn(messages: Any, what: str, notes: Notes) -> Any:
    """{"role": [...], "content": [...]}, as `datasets` writes such a Sequence, turn by turn."""
    if not isinstance(messages, dict) or not any(key in messages for key in ROLE_KEYS):
        return messages
    columns = {key: listed for key, listed in messages.items() if listed is not None}
    lengths = {len(listed) if isinstance(listed, list) else -1 for listed in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        return messages
    notes.warn("lists_as_turns", f"{what} are an object of lists; read turn by turn")
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
