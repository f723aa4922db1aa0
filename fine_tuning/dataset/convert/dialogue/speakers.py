"""Who speaks in a message that has neither `role` nor `from`, as chat tools export them."""

from collections.abc import Mapping
from typing import Any

from fine_tuning.dataset.recognise.formats import role_names

ROLE_KEYS = ("role", "from")
_KEYS = ("sender", "speaker", "author", "type", "角色")
# In dialogues of a user and a system (MultiWOZ and its kind) the system answers.
_OF_SPEAKERS: Mapping[str, str] = {"system": "assistant"}


def speaks(message: Any) -> bool:
    """Whether this is a message that says who speaks, in words that are known."""
    if not isinstance(message, dict):
        return False
    return any(message.get(key) is not None for key in ROLE_KEYS) or bool(_speaker(message))


def with_role(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its `role`; as it is, if it has one or nobody is named.

    LangChain's dumps hold the text under `data`.
    """
    role = _speaker(message)
    if not role:
        return message
    data = message.get("data")
    inner = data if isinstance(data, dict) and "content" in data else {}
    rest = {key: value for key, value in message.items() if key not in (*_KEYS, "data")}
    return {**rest, **inner, "role": role}


def _speaker(message: Mapping[str, Any]) -> str:
    if any(message.get(key) is not None for key in ROLE_KEYS):
        return ""
    for key in _KEYS:
        written = message.get(key)
        if isinstance(written, dict):
            written = written.get("role")
        name = written.strip().lower() if isinstance(written, str) else ""
        if key == "speaker":
            name = _OF_SPEAKERS.get(name, name)
        if name in role_names():
            return name
    return ""
