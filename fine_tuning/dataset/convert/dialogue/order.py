"""The order of turns: who speaks after whom, and where a dialogue ends."""

from fine_tuning.dataset.convert.canonical import Turn, UntrainedTurn
from fine_tuning.dataset.convert.columns.media import has_placeholder
from fine_tuning.dataset.convert.dialogue.message import ANSWERS
from fine_tuning.dataset.convert.values import Notes, Unusable


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
            wanted = "assistant" if number % 2 else "user"
            what = f"the first turn is from {turn.role}; expected user"
            if number:
                what = (
                    f"{turn.role} follows {previous} (without the system turn, turn {number + 1});"
                    f" expected {wanted}"
                )
            raise Unusable("turn_order", what)
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
