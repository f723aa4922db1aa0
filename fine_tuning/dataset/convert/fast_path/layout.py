"""How a file lays out its rows: all that stands between their values.

A writer of JSON Lines gives each row the same keys, in the same order, with the same spaces. Rows
that are written out again in this layout and give the file's bytes were read completely: each
stands on a line of its own and has each key once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

from msgspec import Raw

Layout = Callable[[Sequence[Any]], bytes]  # rows (their values as `Raw`) -> their lines


@dataclass(frozen=True, slots=True)
class Style:
    """How a writer separates items and keys, and whether it spells names in ASCII."""

    item: str
    key: str
    ascii: bool

    def seams(self, names: Iterable[str]) -> list[bytes]:
        """The bytes of an object around the values of these names."""
        keys = [json.dumps(name, ensure_ascii=self.ascii) + self.key for name in names]
        return [s.encode() for s in ("{" + keys[0], *(self.item + key for key in keys[1:]), "}")]


# What json.dumps writes, and what the compact writers do.
STYLES = tuple(
    Style(item, key, ascii) for ascii in (True, False) for item, key in ((", ", ": "), (",", ":"))
)


def layouts_of(columns: Mapping[str, str]) -> Iterator[Layout]:
    """The usual layouts of rows with these columns (name in the file -> attribute), in order."""
    return (_flat(style, columns) for style in STYLES)


def dialogue_layouts(
    columns: Mapping[str, str], listed: str, of_turn: Mapping[str, str]
) -> Iterator[Layout]:
    """The usual layouts of rows that hold a list of turns, which are objects, in one attribute.

    `of_turn` are the columns of a turn; their attributes are `role` and `text`.
    """
    return (_with_turns(style, columns, listed, of_turn) for style in STYLES)


def _flat(style: Style, columns: Mapping[str, str]) -> Layout:
    *seams, end = style.seams(columns)
    values = [attrgetter(attribute) for attribute in columns.values()]

    def written(rows: Sequence[Any]) -> bytes:
        parts: list[Iterable[bytes | Raw]] = []
        for seam, value in zip(seams, values, strict=True):
            parts += (repeat(seam), map(value, rows))
        parts.append(repeat(end + b"\n"))
        return b"".join(chain.from_iterable(zip(*parts, strict=False)))

    return written


def _with_turns(
    style: Style, columns: Mapping[str, str], listed: str, of_turn: Mapping[str, str]
) -> Layout:
    *seams, end = style.seams(columns)
    opening, between, closing = style.seams(of_turn)
    members = [(s, attrgetter(name)) for s, name in zip(seams, columns.values(), strict=True)]
    at = list(columns.values()).index(listed)
    (seam_of_list, turns_of), before, after = members[at], members[:at], members[at + 1 :]
    first, again = seam_of_list + b"[" + opening, closing + style.item.encode() + opening
    last, end = closing + b"]", end + b"\n"
    role_first = next(iter(of_turn.values())) == "role"

    def written(rows: Sequence[Any]) -> bytes:
        parts: list[bytes | Raw] = []
        for row in rows:
            for seam, value in before:
                parts += (seam, value(row))
            parts.append(first)
            if role_first:
                for turn in turns_of(row):
                    parts += (turn.role, between, turn.text, again)
            else:
                for turn in turns_of(row):
                    parts += (turn.text, between, turn.role, again)
            parts[-1] = last  # an empty list is not written so: its piece is uneven
            for seam, value in after:
                parts += (seam, value(row))
            parts.append(end)
        return b"".join(parts)

    return written
