"""A top-level object that holds the list of records: {"data": [...]} and its relatives."""

import json
import re
from dataclasses import dataclass

import msgspec

from fine_tuning.dataset.read.json.window import SEPARATORS, SPACES, Window, value_end

_KEY = re.compile(rb'[\s,]*("(?:[^"\\]++|\\.)*+")\s*:\s*', re.DOTALL)
# Lists of objects that belong to one record, and text that only a record has.
OWN_LISTS = frozenset(
    (
        "messages",
        "conversations",
        "conversation",
        "history",
        "turns",
        "tools",
        "chosen",
        "rejected",
        "images",
        "choices",
    )
)
_RECORD_KEYS = frozenset(
    (
        "instruction",
        "input",
        "output",
        "prompt",
        "response",
        "completion",
        "question",
        "answer",
        "text",
        "system",
        "query",
    )
)
_TURN_KEYS = frozenset(("role", "from", "speaker"))
_LOOKAHEAD = 1 << 22


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the object: its key and where its value starts."""

    key: str
    start: int
    records: bool


def record_lists(window: Window) -> list[Member]:
    """The members of the object at `window.pos` that are lists of records.

    Empty if the object is a record itself: it has a record's own keys, its list holds turns, or
    other values follow it.
    """
    while len(window.data) - window.pos < _LOOKAHEAD and window.more():
        pass
    members: list[Member] = []
    probe = Window(())
    probe.data, probe.pos, probe.ended = window.data, window.pos + 1, True
    while match := _KEY.match(probe.data, probe.pos):
        try:
            key = str(json.loads(match[1]))
        except ValueError:
            return []
        start = match.end()
        if key in _RECORD_KEYS or key in OWN_LISTS:
            return []
        members.append(Member(key, start, _holds_records(probe.data, start)))
        probe.pos = start
        end = value_end(probe)
        if end is None or end <= start:
            return _of_records(members)
        probe.pos = end
    rest = probe.data[probe.pos :].lstrip(b" \t\n\r\0,")  # a comma may stand before the brace
    if rest[:1] != b"}" or rest[1:].strip(b" \t\r\n\0"):
        return [] if rest else _of_records(members)
    return _of_records(members) or [
        m for m in members if re.compile(rb"\[\s*\]").match(probe.data, m.start) is not None
    ]


def next_record_list(window: Window) -> str | None:
    """After the first list: read to the object's end; the key of a further list of records."""
    while True:
        if window.skip(SEPARATORS) in (b"}", b""):
            return None
        while (match := _KEY.match(window.data, window.pos)) is None and window.more():
            pass
        if match is None:
            return None
        window.advance(match.end())
        window.skip(SPACES)
        if len(window.data) - window.pos < 1000:
            window.more()
        if _holds_records(window.data, window.pos):
            return str(json.loads(match[1]))
        end = value_end(window)
        if end is None or end == window.pos:
            return None
        window.advance(end)


def _of_records(members: list[Member]) -> list[Member]:
    return [member for member in members if member.records]


def _holds_records(data: bytes, start: int) -> bool:
    opening = re.compile(rb"\[\s*(?=\{)").match(data, start)
    if opening is None:
        return False
    probe = Window(())
    probe.data, probe.pos, probe.ended = data, opening.end(), True
    end = value_end(probe)
    if end is None:
        return True
    try:
        first = msgspec.json.decode(data[opening.end() : end], type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return True
    return not _TURN_KEYS & first.keys()
