"""The dataset formats: one file each in `dataset_info/`, a LLaMA-Factory entry and how it is known.

The entry names the columns and tags as LLaMA-Factory's own `dataset_info.json` does; its
`recognise` key says what the rows are (`kind`), which converter reads them, which sets of columns
show the format (`shapes`), and under which other names a column may stand (`aliases`).
"""

import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fine_tuning.disk.resources import FORMATS
from fine_tuning.values.tables.kinds import Kind

MEDIA_COLUMNS = ("images", "videos", "audios")
WEIGHT = "weight"  # of a turn, where some are not trained

# Columns that mean the same in every format that has them, under the names that tools write.
SHARED_ALIASES: Mapping[str, tuple[str, ...]] = {
    "images": ("image",),
    "videos": ("video",),
    "audios": ("audio",),
    "system": (
        *("system_prompt", "system_message", "system_instruction", "systemInstruction"),
        *("systemPrompt", "system_text", "sys_prompt"),
    ),
    "tools": ("functions",),
    "input": ("passage", "article", "background", "document"),
    "choices": ("options",),
    "reasoning": (
        *("reasoning_content", "thinking", "thinking_content", "think", "cot", "complex_cot"),
        *("chain_of_thought", "thought", "thoughts", "reasoning_trace", "thinking_trajectory"),
    ),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A set of columns that shows a format; the shape with the highest score wins.

    `columns` lists alternatives for each column; `values` are patterns that the text of a
    column's value must match as a whole.
    """

    columns: tuple[tuple[str, ...], ...]
    values: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]
    score: int

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has these columns (absent and null are the same) and values."""
        filled = {name for name, value in row.items() if value is not None}
        return self.possible(filled) and self.has_values(row)

    def has_values(self, row: Mapping[str, Any]) -> bool:
        """Whether a row that has the columns has the values as well."""
        for names, pattern in self.values:
            value = next((row[name] for name in names if row.get(name) is not None), None)
            if not pattern.fullmatch(_plain(value)):
                return False
        return True

    def possible(self, names: Container[str]) -> bool:
        """Whether a row with (some of) these columns may have this shape."""
        return all(any(name in names for name in group) for group in self.columns)

    def __str__(self) -> str:
        return ", ".join(" or ".join(names) for names in self.columns)


@dataclass(frozen=True)
class Format:
    """How rows of one format are recognised and which of their columns are read."""

    name: str
    kind: Kind
    converter: str
    shapes: tuple[Shape, ...]
    columns: Mapping[str, tuple[str, ...]]  # our name -> the names it may have, in order
    includes: tuple[str, ...]  # formats whose rows are rows of this one too
    entry: Mapping[str, Any]  # the LLaMA-Factory entry
    recognise: Mapping[str, Any]

    def assigned(self, filled: Collection[str], named: Collection[str] = ()) -> dict[str, str]:
        """Our name -> the column that is read for it, of those that a row has, each for one thing.

        Of several the one that the user named is read, else ours; a column that is another's own
        is read for that one (`input` is a prompt only where there is no other).
        """
        found: dict[str, str] = {}
        for ours, names in self.columns.items():
            free = [name for name in names if name in filled and name not in found.values()]
            if free:
                own = named if ours in named else {*named} - {*self.columns}
                found[ours] = next((name for name in free if name in own), free[0])
        return found

    def expected(self) -> str:
        """The columns that a row of this format has, for messages."""
        return "; or ".join(str(shape) for shape in self.shapes[:2])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.lower() if isinstance(value, str) and len(value) < 16 else str(value)


def _shape(written: Mapping[str, Any]) -> Shape:
    columns = tuple(tuple(names.split("|")) for names in written["columns"])
    values = tuple(
        (tuple(names.split("|")), re.compile(pattern))
        for names, pattern in written.get("values", {}).items()
    )
    return Shape(columns, values, written["score"])


@cache
def all_formats(folder: Path = FORMATS) -> Mapping[str, Format]:
    """Every format by name, read from `dataset_info/`."""
    written = {
        path.stem: msgspec.json.decode(path.read_bytes()) for path in sorted(folder.glob("*.json"))
    }
    formats = {}
    for name, entry in written.items():
        recognise = entry.pop("recognise")
        aliases = dict(recognise["aliases"])
        # LLaMA-Factory's alpaca names differ by key and value; ours is the column as it is written.
        ours = dict.fromkeys((*aliases, *entry["columns"].values()))
        if recognise["kind"] != "text":
            ours |= dict.fromkeys(MEDIA_COLUMNS)
        formats[name] = Format(
            name=name,
            kind=recognise["kind"],
            converter=recognise["converter"],
            shapes=tuple(_shape(shape) for shape in recognise["shapes"]),
            columns={
                our: tuple(
                    dict.fromkeys((our, *aliases.get(our, ()), *SHARED_ALIASES.get(our, ())))
                )
                for our in ours
            },
            includes=tuple(recognise.get("includes", ())),
            entry=entry,
            recognise=recognise,
        )
    return formats


@cache
def role_names() -> Mapping[str, str]:
    """Every role name that datasets use -> user, assistant, system, tool or function_call."""
    return {name: role for role, names in _listed("roles") for name in names}


@cache
def native_roles() -> Mapping[str, frozenset[str]]:
    """For each role key (`from`, `role`) the names that its own format uses."""
    return {
        known.entry["tags"]["role_tag"]: frozenset(known.recognise["native_roles"])
        for known in all_formats().values()
        if "native_roles" in known.recognise
    }


@cache
def label_names() -> Mapping[str, bool]:
    """The texts that stand for a KTO label."""
    return {name: key == "true" for key, names in _listed("labels") for name in names}


def _listed(key: str) -> Iterator[tuple[str, Sequence[str]]]:
    """What the files list under a key of `recognise`."""
    for known in all_formats().values():
        yield from known.recognise.get(key, {}).items()
