"""One message -> the turns of a dialogue: who speaks, what is said and called, and whether it is
trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fine_tuning.dataset.convert.canonical import TOOL_RESULT_JOINT, Turn, UntrainedTurn
from fine_tuning.dataset.convert.dialogue.content import (
    Content,
    read_content,
    read_result,
    with_reasoning,
)
from fine_tuning.dataset.convert.dialogue.speakers import ROLE_KEYS
from fine_tuning.dataset.convert.dialogue.tools import call_turn, calls_text, join_calls
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
# How tools say of a message whether it is trained; what true (or 1) means.
LOSS_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("weight", "loss_weight", "loss_scale", "loss", "loss_mask"), True),
    **dict.fromkeys(("train", "trainable", "trained", "is_trained", "training", "train_on"), True),
    **dict.fromkeys(("train_detail", "training_detail", "compute_loss", "calculate_loss"), True),
    **dict.fromkeys(("learn", "learnable", "is_target", "supervised", "keep_loss"), True),
    **dict.fromkeys(("mask", "masked", "is_masked", "untrained", "no_train", "skip_train"), False),
    **dict.fromkeys(("ignore", "ignored", "ignore_loss", "no_loss", "skip_loss", "exclude"), False),
}
TRUTHS = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0}


@dataclass
class Dialogue:
    """Turns in order; two tool results or two calls in a row are one turn already."""

    turns: list[Turn] = field(default_factory=list)
    system: str = ""
    media: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, turn: Turn, notes: Notes) -> None:
        """One turn more; two results or two calls in a row become one."""
        last = self.turns[-1] if self.turns else None
        if last is not None and last.role == turn.role == "tool":
            last.value += TOOL_RESULT_JOINT + turn.value
        elif last is not None and last.role == "assistant" and turn.role == "function_call":
            notes.warn(
                "tool_call_text_dropped", "an answer right before a tool call is not trained"
            )
            self.turns[-1] = turn
        elif last is not None and last.role == turn.role == "function_call":
            if type(last) is not type(turn):
                notes.warn("weight_ignored", "one of the tool calls in a row has the weight 0")
                self.turns[-1] = last = Turn(last.role, last.value)
            last.value = join_calls(last.value, turn.value)
            notes.warn("tool_calls_joined", "tool calls in a row were joined into one turn")
        else:
            self.turns.append(turn)


def read_message(message: Any, where: str, first: bool, dialogue: Dialogue, notes: Notes) -> None:
    """Add what a message says to the dialogue; `where` names it. Raises Unusable."""
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
        dialogue.add(turn, notes)


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


def _is_untrained(message: Mapping[str, Any], role: str, where: str, notes: Notes) -> bool:
    """Whether this is an answer with the weight 0; only answers are trained in any case."""
    untrained = False
    for key, written in message.items():
        if written is None or key not in LOSS_FLAGS:
            continue
        said = TRUTHS.get(written.strip().lower()) if isinstance(written, str) else written
        trained = bool(said) == LOSS_FLAGS[key] if said in (0, 1) else None
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
