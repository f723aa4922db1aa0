"""What rows can be, one row a kind: the columns of its canonical form, and how it may be cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["chat", "text", "preference", "kto"]


@dataclass(frozen=True, kw_only=True)
class RowKind:
    """One kind of canonical row (docs/architecture.md)."""

    rows_are: str  # in a sentence
    columns: frozenset[str]
    required: frozenset[str] = field(default_factory=lambda: frozenset({"conversations"}))
    is_chat: bool = True  # rendered by a chat template; else plain text
    is_pair: bool = False  # two sequences a row, a chosen and a rejected answer
    # how a row that is too long is cut, if nothing else is asked for
    cut: Literal["rounds", "blocks", "never"] = "never"


KINDS: Mapping[Kind, RowKind] = {
    "chat": RowKind(
        rows_are="conversations with one answer",
        columns=frozenset({"conversations", "system", "tools"}),
        cut="rounds",
    ),
    "text": RowKind(
        rows_are="plain text",
        columns=frozenset({"conversations"}),
        is_chat=False,
        cut="blocks",
    ),
    "preference": RowKind(
        rows_are="pairs of a chosen and a rejected answer",
        columns=frozenset({"conversations", "system", "tools", "chosen", "rejected"}),
        required=frozenset({"conversations", "chosen", "rejected"}),
        is_pair=True,
    ),
    "kto": RowKind(
        rows_are="answers that are marked good or bad",
        columns=frozenset({"conversations", "system", "tools", "label"}),
        required=frozenset({"conversations", "label"}),
    ),
}
