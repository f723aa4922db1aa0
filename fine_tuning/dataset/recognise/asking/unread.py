"""Columns that no format reads, as a pass over the rows saw them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

MOST_COLUMNS = 64
MOST_VALUES = 40  # of each column, that are looked at
# Says which rows are held out, and may do so at the end of a file: each row is looked at.
SPLIT_COLUMN = re.compile(r"split|subset|fold|partition|data_?split", re.IGNORECASE)
_EXAMPLE = 80
_PARTS = 50  # of a nested value


class Column(msgspec.Struct):
    """What the first values of a column are: how many, of which types, how much text they hold.

    `beside` names the column that is read for the same thing. `examples` are the different values
    as text, cut.
    """

    beside: str = ""
    values: int = 0
    chars: int = 0
    types: dict[str, int] = msgspec.field(default_factory=dict)
    examples: list[str] = msgspec.field(default_factory=list)

    @property
    def is_constant(self) -> bool:
        """Whether several values are all the same: such a column tells no row from another."""
        return self.values > 1 and len(self.examples) == 1

    def see(self, value: Any, *, everywhere: bool = False) -> None:
        """One more value; of a column that counts everywhere also beyond the first ones."""
        if self.values >= MOST_VALUES and not everywhere:
            return
        self.values += 1
        kind = type(value).__name__
        self.types[kind] = self.types.get(kind, 0) + 1
        text = text_within(value)
        self.chars += len(text)
        example = "(bytes)" if isinstance(value, bytes) else (text or str(value))[:_EXAMPLE]
        if example not in self.examples and len(self.examples) < MOST_VALUES:
            self.examples.append(example)

    def add(self, other: "Column") -> None:
        """What another pass saw of the same column."""
        self.beside = self.beside or other.beside
        self.values += other.values
        self.chars += other.chars
        for kind, count in other.types.items():
            self.types[kind] = self.types.get(kind, 0) + count
        self.examples += [text for text in other.examples if text not in self.examples]


class Unread(dict[str, Column]):
    """Columns by name, as many as are remembered."""

    def see(self, name: str, value: Any, *, beside: str = "") -> None:
        """One value of a column that is not read in this row."""
        column = self.get(name)
        if column is None:
            if len(self) >= MOST_COLUMNS:
                return
            column = self[name] = Column(beside)
        column.see(value, everywhere=bool(SPLIT_COLUMN.fullmatch(name)))

    @classmethod
    def of(cls, passes: Iterable[Mapping[str, Column]]) -> "Unread":
        """What several passes saw of the same file."""
        found = cls()
        for columns in passes:
            for name, column in columns.items():
                if name in found:
                    found[name].add(column)
                else:
                    found[name] = column
        return found


def text_within(value: Any) -> str:
    """The text that a value holds, at any depth."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(text_within, value[:_PARTS])))
    return ""
