"""A `dataset_info.json` beside the data: how LLaMA-Factory's users say what their columns are.

Its entry for a file (columns, tags, ranking; llamafactory/data/parser.py) is read as --columns, and
as other names for the keys and roles of messages. What the user says with flags goes before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fine_tuning.dataset.convert.values import Tags
from fine_tuning.dataset.sources import Source

NAME = "dataset_info.json"
_COLUMNS = {"query": "input", "response": "output", "kto_tag": "label"}
_KEYS = {"role_tag": "role", "content_tag": "content"}
_ROLES = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


@dataclass(frozen=True)
class Mapped:
    """What an entry says: our columns -> theirs, other names in messages, and both in words."""

    columns: Mapping[str, str] = field(default_factory=dict)
    tags: Tags = Tags()
    said: str = ""


def mapping_of(source: Source) -> Mapped:
    """What the `dataset_info.json` beside a file says about it; nothing if there is none."""
    path = source.path.with_name(NAME)
    if source.path.name == NAME or not path.is_file():
        return Mapped()
    try:
        entries = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, msgspec.MsgspecError):
        return Mapped()
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and str(entry.get("file_name")) == source.path.name:
            return mapped(str(name), entry)
    return Mapped()


def mapped(name: str, entry: Mapping[str, Any]) -> Mapped:
    """What an entry of a `dataset_info.json` says of columns, keys and roles."""
    written = _texts(entry.get("columns"))
    pairs = bool(entry.get("ranking")) or "kto_tag" in written
    columns = {}
    for theirs, column in written.items():
        ours = "prompt" if pairs else "instruction"
        columns[ours if theirs == "prompt" else _COLUMNS.get(theirs, theirs)] = column
    if "kto_tag" in written and "output" in columns:
        columns["completion"] = columns.pop("output")
    tags = _texts(entry.get("tags"))
    keys = {tags[tag]: ours for tag, ours in _KEYS.items() if tag in tags}
    roles = {tags[tag]: ours for tag, ours in _ROLES.items() if tag in tags}
    if not columns and not tags:
        return Mapped()
    other = {ours: theirs for theirs, ours in {**keys, **roles}.items() if ours != theirs}
    said = [f"{ours}={theirs}" for ours, theirs in {**columns, **other}.items()]
    where = f'as the entry "{name}" of {NAME} says: {", ".join(said)}'
    return Mapped(columns, Tags(keys, roles), f"{where} (--columns goes before it)")


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, str)}
