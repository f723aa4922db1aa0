"""Which tool result answers which call: the engine knows no ids, it pairs them by their order."""

from collections.abc import Mapping, Sequence
from typing import Any

from fine_tuning.dataset.convert.values import Notes
from fine_tuning.units import counted

_RESULT_ROLES = ("tool", "observation", "function")


def in_call_order(messages: Sequence[Any], of: str, notes: Notes) -> list[Any]:
    """The messages, with the results after a turn of calls in the order of these calls.

    Ids that do not fit are a warning: the row stays as it is.
    """
    ordered = list(messages)
    at = 0
    while at < len(ordered):
        asked = _call_ids(ordered[at])
        end = at + 1
        while end < len(ordered) and _result_id(ordered[end]):
            end += 1
        answered = [_result_id(message) for message in ordered[at + 1 : end]]
        answered = answered or _results_of_parts(ordered[end : end + 1])
        if asked and answered and sorted(asked) != sorted(answered):
            counts = f"{counted(len(asked), 'call')} and of the {counted(len(answered), 'result')}"
            message = f"the ids of the {counts} after it do not match"
            notes.warn("tool_id_mismatch", f"turn {at + 1}{of}: {message}")
        elif asked and asked != answered and end > at + 1:
            ordered[at + 1 : end] = sorted(
                ordered[at + 1 : end], key=lambda message: asked.index(_result_id(message))
            )
            notes.warn("tool_results_sorted", f"results after turn {at + 1}{of} were put in order")
        at = end
    return ordered


def _call_ids(message: Any) -> list[str]:
    """The ids of the calls of a message; empty unless each call has one."""
    if not isinstance(message, Mapping):
        return []
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        parts = message.get("content")
        calls = [p for p in parts if _is_part(p, "tool_use")] if isinstance(parts, list) else []
    ids = [call.get("id") if isinstance(call, Mapping) else None for call in calls]
    return [i for i in ids if isinstance(i, str) and i] if all(ids) else []


def _result_id(message: Any) -> str:
    if not isinstance(message, Mapping) or message.get("role") not in _RESULT_ROLES:
        return ""
    found = message.get("tool_call_id")
    return found if isinstance(found, str) else ""


def _results_of_parts(messages: Sequence[Any]) -> list[str]:
    """The ids of Anthropic's tool_result parts."""
    parts = messages[0].get("content") if messages and isinstance(messages[0], Mapping) else None
    if not isinstance(parts, list):
        return []
    return [str(part.get("tool_use_id")) for part in parts if _is_part(part, "tool_result")]


def _is_part(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind
