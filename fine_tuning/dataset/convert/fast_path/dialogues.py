"""The fast path of dialogues whose turns are texts."""

from typing import Any

import msgspec
from msgspec import Raw

from fine_tuning.dataset.convert.fast_path.path import (
    FastCounts,
    FastPath,
    Make,
    Spell,
    columns_of,
    path_of,
)
from fine_tuning.dataset.convert.fast_path.seams import (
    ASSISTANT,
    END,
    LESS,
    NEXT_USER,
    SYSTEM,
    USER,
    has_placeholder,
    system_of,
)
from fine_tuning.dataset.convert.fast_path.spelling import QUOTE, VISIBLE, is_visible
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.recognise.formats import native_roles, role_names


def dialogues(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """ShareGPT and OpenAI messages: text turns of user and assistant, after a system turn."""
    columns = columns_of(plan, names)
    if columns is None:
        return None
    found, extra = columns
    list_column = next((name for name in ("messages", "conversations") if name in found), "")
    if not list_column or found.keys() - {list_column, "system", "tools"}:
        return None
    turn = _turn_names(rows, found[list_column])
    if turn is None:
        return None
    role_key, keys, user, assistant = turn
    if [role_names().get(user), role_names().get(assistant)] != ["user", "assistant"]:
        return None
    of_turn = {key: "role" if key == role_key else "text" for key in keys}
    turn_struct = msgspec.defstruct(
        "FastTurn",
        [("role", Raw), ("text", Raw)],
        rename={attribute: key for key, attribute in of_turn.items()},
        forbid_unknown_fields=True,
        gc=False,
    )
    listed = list[turn_struct]  # type: ignore[valid-type]  # the type is made from the sample
    fields: dict[str, tuple[str, Any]] = {"m": (found[list_column], listed)}
    for attribute, ours in (("s", "system"), ("t", "tools")):
        if ours in found:
            fields[attribute] = (found[ours], Raw)
    counts = FastCounts()
    make = _dialogue_maker(user, assistant, counts, has_more=len(fields) > 1)
    path = path_of(fields, extra, rows, make, counts, of_turn)
    native = native_roles()[role_key]
    roles = ((user, "user"), (assistant, "assistant"))
    path.renamed = tuple((name, role) for name, role in roles if name not in native)
    return path


def _dialogue_maker(user: str, assistant: str, counts: FastCounts, *, has_more: bool) -> Make:
    encode = msgspec.json.encode
    system_role, user_role, assistant_role = (
        Raw(encode(role)) for role in ("system", user, assistant)
    )

    def make(row: Any, spell: Spell) -> bytes | None:
        turns = row.m
        system = system_of(row, spell) if has_more else b'""'
        at = 0
        if turns and turns[0].role == system_role:
            text = spell(turns[0].text)
            if system != b'""' or not is_visible(text):
                return None
            system, at = text, 1
        if system is None or (len(turns) - at) % 2 or len(turns) == at:
            return None
        parts = [USER]
        asks, reasons = True, False
        for turn in turns[at:] if at else turns:
            text = spell(turn.text)
            if turn.role != (user_role if asks else assistant_role):
                return None
            if not (text[0] == QUOTE and text[1] in VISIBLE) and not is_visible(text):
                return None
            if LESS in text:
                if has_placeholder(text):
                    return None
                reasons = reasons or (not asks and b"<think>" in text)
            parts += (text, ASSISTANT if asks else NEXT_USER)
            asks = not asks
        counts.with_reasoning += reasons
        counts.pairs_of_turns += len(parts) // 4
        parts[-1] = SYSTEM
        parts += (system, END)
        return b"".join(parts)

    return make


def _turn_names(
    rows: list[dict[str, Any]], column: str
) -> tuple[str, tuple[str, ...], str, str] | None:
    """The first plain dialogue of the sample: the key of a role, all keys of a turn as they are
    ordered, the user's name and the assistant's."""
    for row in rows:
        listed = row.get(column)
        turns = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
        for role_key, content_key in (("role", "content"), ("from", "value")):
            if all(t.keys() == {role_key, content_key} for t in turns):
                roles = [t[role_key] for t in turns if t[role_key] != "system"]
                if len(roles) > 1 and all(isinstance(role, str) for role in roles[:2]):
                    return role_key, tuple(turns[0]), roles[0], roles[1]
    return None
