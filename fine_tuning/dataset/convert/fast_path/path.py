"""A fast path: a decoder for the columns of a file, and what makes a canonical row of each row."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from fine_tuning.dataset.convert.fast_path.layout import Layout, dialogue_layouts, layouts_of
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS, all_formats

MAX_EXTRA_COLUMNS = 24  # each may cost a scan of the block
_NEEDED = "qam"  # the attributes for prompt, answer and messages

Spell = Callable[[Raw], bytes]
Make = Callable[[Any, Spell], "bytes | None"]

# A value of a column that nobody reads: text, or what the general path surely reads without
# a remark. A nested value may repeat a key or be deep, a long number be out of range.
_SCALAR = re.compile(rb'"|(?:-?\d{1,100}(?:\.\d{1,100})?(?:[eE][-+]?\d{1,2})?|true|false|null)\Z')


@dataclass
class FastPath:
    """`decoder` gives rows with their texts as they are spelt, or raises; `make` gives a row's
    canonical bytes, or None if the general path must look at it.

    `make` relies on valid UTF-8, and on keys that are not repeated: `layouts` or `keys` (the names
    to count) show that. It is told how to spell a text: `bytes` for as it is, or `respelt`.
    """

    decoder: msgspec.json.Decoder[Any]
    make: Make
    layouts: tuple[Layout, ...]
    keys: tuple["Key", ...]
    counts: "FastCounts"
    extra: tuple[str, ...]  # columns that nobody reads
    renamed: tuple[tuple[str, str], ...] = ()  # role names that are not the format's own


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is quoted in the file; `count` says how often a row has it, None: once."""

    quoted: bytes
    count: Callable[[Any], int] | None


@dataclass
class FastCounts:
    """What the loop counted: rows with reasoning, and turns by role where these were renamed."""

    with_reasoning: int = 0
    pairs_of_turns: int = 0

    def reset_to(self, earlier: "FastCounts") -> None:
        """Forget a block that the general path reads again."""
        self.with_reasoning = earlier.with_reasoning
        self.pairs_of_turns = earlier.pairs_of_turns


def columns_of(plan: Plan, names: Iterable[str]) -> tuple[dict[str, str], list[str]] | None:
    """Our column -> its name in the file, and the other columns.

    A second name of a column is left out, so that rows which have it go to the general path.
    """
    format = all_formats()[plan.format]
    in_file = {plan.renames.get(name, name): name for name in names}
    assigned = format.assigned([*in_file], frozenset(plan.renames.values()))
    found = {ours: in_file[known] for ours, known in assigned.items()}
    known_names = {name for aliases in format.columns.values() for name in aliases}
    extra = [name for known, name in in_file.items() if known not in known_names]
    if len(extra) > MAX_EXTRA_COLUMNS or any(column in found for column in MEDIA_COLUMNS):
        return None
    return found, extra


def path_of(
    fields: Mapping[str, tuple[str, Any]],
    extra: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    make: Make,
    counts: FastCounts,
    of_turn: Mapping[str, str] | None = None,
) -> FastPath:
    """A decoder for exactly these columns (attribute -> name in the file, type).

    A column that all rows of the sample have is required, so that its keys need not be counted
    row by row; a row without it goes to the general path.
    """
    columns = {**fields, **{f"x{number}": (name, Raw) for number, name in enumerate(extra)}}
    required: list[Any] = []
    optional: list[Any] = []
    keys = []
    for attribute, (name, kind) in columns.items():
        if attribute in _NEEDED or all(name in row for row in rows):
            required.append((attribute, kind))
            keys.append(Key(msgspec.json.encode(name), None))
        else:
            optional.append((attribute, kind | UnsetType, UNSET))
            keys.append(Key(msgspec.json.encode(name), _presence(attribute)))
    struct = msgspec.defstruct(
        "FastRow",
        required + optional,
        rename={attribute: name for attribute, (name, _) in columns.items()},
        forbid_unknown_fields=True,
        gc=False,
    )
    if extra:
        make = _with_plain_extras(make, len(extra))
    if of_turn:
        keys += [Key(msgspec.json.encode(name), lambda row: len(row.m)) for name in of_turn]
    names = {name: attribute for attribute, (name, _) in columns.items()}
    layouts = () if optional else _layouts(names, rows, of_turn)
    decoder = msgspec.json.Decoder(struct)
    return FastPath(decoder, make, layouts, tuple(keys), counts, tuple(extra))


def _layouts(
    names: Mapping[str, str], rows: Sequence[Mapping[str, Any]], of_turn: Mapping[str, str] | None
) -> tuple[Layout, ...]:
    """The layouts that the file may have, with its columns in the order of the sample."""
    row = next((row for row in rows if row.keys() == names.keys()), None)
    if row is None:
        return ()
    columns = {name: names[name] for name in row}
    return tuple(dialogue_layouts(columns, "m", of_turn) if of_turn else layouts_of(columns))


def _presence(attribute: str) -> Callable[[Any], int]:
    def count(row: Any) -> int:
        return getattr(row, attribute) is not UNSET

    return count


def _with_plain_extras(make: Make, number: int) -> Make:
    """Only rows whose other columns are single values, which are surely read without a remark."""
    attributes = [f"x{i}" for i in range(number)]

    def checked(row: Any, spell: Spell) -> bytes | None:
        for attribute in attributes:
            raw = getattr(row, attribute)
            if raw is not UNSET and not _SCALAR.match(raw):
                return None
        return make(row, spell)

    return checked
