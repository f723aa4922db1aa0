"""A list of messages -> canonical turns, a system prompt, and the media of their parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fine_tuning.dataset.convert.canonical import TOOL_RESULT_JOINT, Turn, UntrainedTurn
from fine_tuning.dataset.convert.dialogue.content import (
    Content,
    read_content,
    read_result,
    with_reasoning,
)
from fine_tuning.dataset.convert.dialogue.pairing import in_call_order
from fine_tuning.dataset.convert.dialogue.speakers import ROLE_KEYS, with_role
from fine_tuning.dataset.convert.dialogue.tools import call_turn, calls_text, join_calls
from fine_tuning.dataset.convert.media import has_placeholder
from fine_tuning.dataset.convert.values import (
    Notes,
    Unusable,
    as_text,
    blankness,
    is_blank,
    shown,
    type_name,
)
from fine_tuning.dataset.recognise.formats import native_roles, role_names

ANSWERS = ("assistant", "function_call")
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
CONTENT_KEYS = ("content", "value", "text", "parts", "message", "utterance", "内容")
# What a message without a role may be: one round of a dialogue, its two turns by these names.
ROUNDS = (
    *(("input", "output"), ("prompt", "response"), ("prompt", "completion"), ("query", "response")),
    *(("question", "answer"), ("instruction", "output"), ("instruction", "response"), ("q", "a")),
    *(("Q", "A"), ("question", "response"), ("query", "answer"), ("prompt", "answer")),
)
# How tools say of a message whether it is trained; what true (or 1) means.
LOSS_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("weight", "loss_weight", "loss_scale", "loss", "loss_mask"), True),
    **dict.fromkeys(("train", "trainable", "trained", "is_trained", "training", "train_on"), True),
    **dict.fromkeys(("train_detail", "training_detail", "compute_loss", "calculate_loss"), True),
    **dict.fromkeys(("learn", "learnable", "is_target", "supervised", "keep_loss"), True),
    **dict.fromkeys(("mask", "masked", "is_masked", "untrained", "no_train", "skip_train"), False),
    **dict.fromkeys(("ignore", "ignored", "ignore_loss", "no_loss", "skip_loss", "exclude"), False),
}


@dataclass
class Dialogue:
    """Turns in order; two tool results or two calls in a row are one turn already."""

    turns: list[Turn] = field(default_factory=list)
    system: str = ""
    media: dict[str, list[Any]] = field(default_factory=dict)


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
        _read_message(message, f"turn {number}{of}", number == 1, dialogue, notes)
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


def check_order(turns: list[Turn], notes: Notes, *, ends_with_answer: bool = True) -> None:
    """User (or tool result) and assistant (or tool call) by turns, starting with user.

    Raises Unusable; LLaMA-Factory would drop the row with a line in its log
    (llamafactory/data/converter.py).
    """
    if not turns:
        raise Unusable("messages_missing", "there is no turn besides the system turn")
    previous = ""
    for number, turn in enumerate(turns):
        expected = ANSWERS if number % 2 else ("user", "tool")
        if turn.role not in expected or (number == 0 and turn.role == "tool"):
            raise Unusable("turn_order", _order_message(number, turn.role, previous))
        if turn.role == "tool" and previous == "assistant":
            # The call stands as text in the answer (Hermes, ToolACE); the engine takes it as that.
            notes.warn("tool_call_as_text", f"turn {number} calls the tool of turn {number + 1}")
        if turn.role != "tool" and previous == "function_call":
            raise Unusable("tool_order", f"tool call without a result at turn {number}")
        if turn.role == "assistant" and not turn.value and turn is not turns[-1]:
            raise Unusable(
                "answer_empty", f"turn {number + 1}, an answer before the last, is blank"
            )
        previous = turn.role
    answered = turns[-1].role in ANSWERS
    if ends_with_answer and not answered:
        notes.lacks_answer(
            "last_turn_not_assistant", f"the last turn is from {turns[-1].role}; expected assistant"
        )
        turns.append(Turn("assistant", ""))
    if not ends_with_answer and answered:
        raise Unusable("turn_order", "the prompt ends with an assistant turn; expected user")


def end_with_trained(turns: list[Turn], notes: Notes) -> list[Turn]:
    """The turns up to the last answer that is trained: what follows it teaches nothing.

    Turns whose end refers to media stay, so that files and marks agree. Raises Unusable if no
    answer is trained.
    """
    end = len(turns)
    while end and isinstance(turns[end - 1], UntrainedTurn):
        end -= 2
    if end <= 0:
        raise Unusable("nothing_trained", "every answer has the weight 0")
    left_out = turns[end:]
    if not left_out or any(has_placeholder(turn.value) for turn in left_out):
        return turns
    notes.warn("untrained_end", f"the last {len(left_out)} turns, which end with weight 0")
    return turns[:end]


def all_trained(turns: list[Turn], notes: Notes) -> list[Turn]:
    """The turns without their weights, which is said: a comparison of answers has none."""
    if not any(isinstance(turn, UntrainedTurn) for turn in turns):
        return turns
    notes.warn("weight_ignored", "a comparison of answers knows no weight 0")
    return [Turn(turn.role, turn.value) for turn in turns]


def _order_message(number: int, role: str, previous: str) -> str:
    if number == 0:
        return f"the first turn is from {role}; expected user"
    wanted = "assistant" if number % 2 else "user"
    return (
        f"{role} follows {previous} (without the system turn, turn {number + 1}); expected {wanted}"
    )


def _read_message(message: Any, where: str, first: bool, dialogue: Dialogue, notes: Notes) -> None:
    if not isinstance(message, dict):
        raise Unusable("turn_malformed", f"{where} is {type_name(message)}; expected an object")
    role = _role(message, where, notes)
    if role == "function_call" and not message.get("content") and message.get("name"):
        message = {**message, "content": message}  # {"role": "tool_call", "name", "arguments"}
    key = next((k for k in CONTENT_KEYS if message.get(k) is not None), None)
    calls = message.get("tool_calls") or message.get("function_call")
    if key is None and not calls:
        empty = ", ".join(k for k in (*CONTENT_KEYS, "tool_calls") if k in message)
        found = f"{empty}: null or empty" if empty else f"its keys are {shown(list(message))}"
        raise Unusable("turn_malformed", f"{where} has no content ({found})")
    value = message[key] if key else ""
    if role == "function_call" and isinstance(value, (dict, list)):
        content = Content(calls=value if isinstance(value, list) else [value])
    else:
        read = read_result if role == "tool" else read_content
        content = read(value, where, notes)
    if calls:
        content.calls += calls if isinstance(calls, list) else [calls]
    reasoning = next((message[k] for k in REASONING_KEYS if message.get(k)), None)
    written = as_text(reasoning, f"reasoning of {where}", "turn_not_text", notes)
    if not is_blank(written) and (role not in ANSWERS or "<think>" in content.text):
        if written.strip() not in content.text:
            why = "has its own <think>" if role in ANSWERS else f"is from {role}"
            notes.warn("reasoning_ignored", f"{where} {why}: its reasoning column is not read")
        written = ""
    content.reasoning += written
    for column, files in content.media.items():
        dialogue.media.setdefault(column, []).extend(files)
    untrained = _is_untrained(message, role, where, notes)
    if role == "system":
        if not first:
            raise Unusable("system_not_first", f"{where} is a system turn; only the first may be")
        dialogue.system = content.text
        return
    for turn in _turns_of(role, content, where, notes):
        turn = UntrainedTurn(turn.role, turn.value) if untrained else turn
        _append(dialogue.turns, turn, notes)


def _role(message: Mapping[str, Any], where: str, notes: Notes) -> str:
    key = next((key for key in ROLE_KEYS if message.get(key) is not None), "role")
    written = message.get(key)
    if not isinstance(written, str):
        keys = shown(list(message))
        raise Unusable("turn_malformed", f"{where} has no role; its keys are {keys}")
    role = role_names().get(written) or role_names().get(written.strip().lower())
    if role is None:
        raise Unusable("role_unknown", f"{where} has the role {shown(written)}")
    if written not in native_roles()[key]:
        notes.renamed[f"{written} -> {role}"] += 1
    return role


def _turns_of(role: str, content: Content, where: str, notes: Notes) -> list[Turn]:
    text = content.text
    if content.results:
        if role == "assistant" or content.text_after_result or not is_blank(text):
            raise Unusable("turn_order", f"{where} holds a tool result and other text")
        return [Turn("tool", _filled(result, where)) for result in content.results]
    if content.calls:
        if role not in ANSWERS:
            raise Unusable("turn_order", f"{where} is a tool call from {role}; expected assistant")
        if not is_blank(text):
            notes.warn(
                "tool_call_text_dropped", f"{where}: text beside the tool call is not trained"
            )
        return [
            Turn("function_call", calls_text(content.calls, with_reasoning("", content.reasoning)))
        ]
    if role == "function_call":
        return [Turn(role, with_reasoning(call_turn(_filled(text, where)), content.reasoning))]
    if is_blank(text) and role == "assistant":
        notes.lacks_answer("answer_empty", f"{where}, an answer, is {blankness(text)}")
        return [Turn(role, "")]
    return [Turn(role, with_reasoning(_filled(text, where), content.reasoning))]


def _filled(text: str, where: str) -> str:
    if is_blank(text):
        raise Unusable("turn_empty", f"{where} is empty")
    return text


def _append(turns: list[Turn], turn: Turn, notes: Notes) -> None:
    last = turns[-1] if turns else None
    if last is not None and last.role == turn.role == "tool":
        last.value += TOOL_RESULT_JOINT + turn.value
    elif last is not None and last.role == "assistant" and turn.role == "function_call":
        notes.warn("tool_call_text_dropped", "an answer right before a tool call is not trained")
        turns[-1] = turn
    elif last is not None and last.role == turn.role == "function_call":
        if type(last) is not type(turn):
            notes.warn("weight_ignored", "one of the tool calls in a row has the weight 0")
            turns[-1] = last = Turn(last.role, last.value)
        last.value = join_calls(last.value, turn.value)
        notes.warn("tool_calls_joined", "tool calls in a row were joined into one turn")
    else:
        turns.append(turn)


def _is_untrained(message: Mapping[str, Any], role: str, where: str, notes: Notes) -> bool:
    """Whether this is an answer with the weight 0; only answers are trained in any case."""
    untrained = False
    for key, written in message.items():
        if written is None or key not in LOSS_FLAGS:
            continue
        trained = _is_trained(written, LOSS_FLAGS[key])
        if trained is None:
            what = f"{key} {shown(written)} of {where} means neither to train it nor not to"
            notes.warn("weight_ignored", what)
        elif trained and role not in ANSWERS and isinstance(written, bool):
            what = f"{key} {shown(written)} of {where}: only answers are trained"
            notes.warn("weight_ignored", what)
        if trained is False and role in ANSWERS:
            untrained = True
            notes.untrained[f"{key} {shown(written)}"] += 1
    return untrained


def _is_trained(written: Any, meaning: bool) -> bool | None:
    """What a loss flag says: `meaning` is what true or 1 means for it; None if it says neither."""
    if isinstance(written, str):
        written = {
            "true": True,
            "1": True,
            "1.0": True,
            "false": False,
            "0": False,
            "0.0": False,
        }.get(written.strip().lower(), written)
    return bool(written) == meaning if written in (0, 1) else None
