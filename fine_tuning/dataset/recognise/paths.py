"""Columns inside of columns: `data.question`, `answers.text.0`, also where a cell is JSON text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

ABSENT: Any = object()
_DEEPEST = 3
_KEYS = 12  # of an object; one with more is a table of its own


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value under a name; dots lead into objects (keys) and lists (numbers from 0). ABSENT
    where there is none. A column that has dots in its name is meant first."""
    if path in row or "." not in path:
        return row.get(path, ABSENT)
    value: Any = row
    for step in path.split("."):
        value = _opened(value)
        if isinstance(value, Mapping):
            value = value.get(step, ABSENT)
        elif isinstance(value, (list, tuple)) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def paths_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every column, and what lies within its objects and in lists of one element."""
    found = (path for row in rows for name, value in row.items() for path in _within(name, value))
    return [*dict.fromkeys(found)]


def values_at(rows: Sequence[Mapping[str, Any]], path: str) -> list[Any]:
    """What the rows hold there, without those that have nothing."""
    found = (value_at(row, path) for row in rows)
    return [value for value in found if value is not ABSENT and value is not None]


def _within(path: str, value: Any, depth: int = 0) -> Iterator[str]:
    if depth < _DEEPEST and isinstance(value, Mapping) and 0 < len(value) <= _KEYS:
        for key, inner in value.items():
            yield from _within(f"{path}.{key}", inner, depth + 1)
    elif depth < _DEEPEST and isinstance(value, list) and len(value) == 1 and not _speaks(value[0]):
        yield from _within(f"{path}.0", value[0], depth + 1)
    else:
        yield path


def _speaks(value: Any) -> bool:
    """Whether this is a message, which belongs to a dialogue and is no column."""
    return isinstance(value, Mapping) and not value.keys().isdisjoint(("role", "from"))


def _opened(value: Any) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value
