"""The canonical bytes around the texts of a row, and what a text must not hold."""

from typing import Any

from msgspec import UNSET

from fine_tuning.dataset.convert.canonical import TEXT, ChatRow, TextRow, Turn, seams_of
from fine_tuning.dataset.convert.dialogue.content import PLACEHOLDERS
from fine_tuning.dataset.convert.fast_path.path import Spell
from fine_tuning.dataset.convert.fast_path.spelling import EMPTY, NO_LIST, NULL, is_visible

_TURNS = [Turn("user", TEXT), Turn("assistant", TEXT)]
USER, ASSISTANT, NEXT_USER, SYSTEM, END = seams_of(ChatRow([*_TURNS, *_TURNS[:1]], TEXT))
NO_SYSTEM = SYSTEM + b'""' + END
DOCUMENT, DOCUMENT_END = seams_of(TextRow([Turn("user", TEXT), Turn("assistant", "")]))
NOTHING = (EMPTY, NULL, UNSET)  # what a column holds that is as good as absent
LESS = ord("<")
_PLACEHOLDERS = [mark.encode() for mark in PLACEHOLDERS.values()]


def system_of(row: Any, spell: Spell) -> bytes | None:
    """The system text of a row; None if it is none, or if the row has a history or tools."""
    if any(getattr(row, name, UNSET) not in (*NOTHING, NO_LIST) for name in ("h", "t")):
        return None
    system = getattr(row, "s", UNSET)
    if system in NOTHING:
        return b'""'
    written = spell(system)
    return written if is_visible(written) else None


def has_placeholder(text: bytes) -> bool:
    """Whether a file is marked in the text."""
    return any(mark in text for mark in _PLACEHOLDERS)
