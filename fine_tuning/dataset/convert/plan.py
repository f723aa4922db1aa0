"""How one file's rows are converted: its format, its column names, and what has been noted."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.canonical import PreferenceRow, Row, UntrainedTurn, encode_row
from fine_tuning.dataset.convert.rows import CONVERTERS
from fine_tuning.dataset.convert.values import Notes, Unusable, shown, type_name
from fine_tuning.dataset.formats import MEDIA_COLUMNS, WEIGHT, Format, all_formats
from fine_tuning.dataset.recognise import Votes, formats_of, renamed

MAX_VOTES = 64  # different sets of columns that are told apart


@dataclass(frozen=True)
class Plan:
    """The decisions for one file; `format` is empty if none was found yet.

    `recognised` says that the format was not named by the user, so that a row of another format
    is called that, and every row has a vote.
    """

    format: str
    renames: Mapping[str, str] = field(default_factory=dict)
    media_root: Path = field(default_factory=Path)
    recognised: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """A row in canonical form (None: unusable), as bytes, and what was found on the way."""

    data: bytes | None
    error: tuple[str, str] | None
    warnings: tuple[tuple[str, str], ...]


class Converter:
    """Converts the rows of one file, one by one, and counts what concerns the whole file."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.format: Format | None = all_formats().get(plan.format)
        self.notes = Notes(plan.media_root)
        self.votes: Votes = Votes()
        self.with_reasoning = 0
        self.columns: set[str] = set()  # those that few datasets have: media, weights

    def convert(self, value: Any) -> Converted:
        """The canonical row of one record, or the reason why there is none."""
        notes = self.notes
        notes.warnings.clear()
        try:
            row = self._row(value)
            data = encode_row(row)
        except Unusable as unusable:
            return Converted(None, (unusable.code, unusable.message), tuple(notes.warnings))
        except UnicodeEncodeError:
            message = "half of a surrogate pair stands in the text; it cannot be written"
            return Converted(None, ("lone_surrogate", message), tuple(notes.warnings))
        self._count(row)
        return Converted(data, None, tuple(notes.warnings))

    def _row(self, value: Any) -> Row:
        if not isinstance(value, dict):
            raise Unusable(
                "not_an_object", f"the record is {type_name(value)} ({shown(value)}), not an object"
            )
        row = renamed(value, self.plan.renames)
        chosen = self._format_of(row) if self.plan.recognised else self.format
        if chosen is None:
            columns = shown(list(value), 200)
            hint = _case_hint(value)
            raise Unusable("format_unknown", f"the columns {columns} fit no known format{hint}")
        named = frozenset(self.plan.renames.values())
        return CONVERTERS[chosen.converter](_fields(row, chosen, named, self.notes), self.notes)

    def _format_of(self, row: Mapping[str, Any]) -> Format | None:
        """The file's format, or the row's own where its columns clearly have another."""
        fitting = formats_of(row)
        if fitting in self.votes or len(self.votes) < MAX_VOTES:
            self.votes[fitting] += 1
        known = self.format
        if known is None or not fitting or {known.name, *known.includes} & set(fitting):
            return known
        if any(shape.values and shape.possible(row) for shape in known.shapes):
            return known  # it has the columns: the converter says which value is wrong
        other = all_formats()[fitting[0]]
        what = f"the row has the columns of {' or '.join(fitting)}, the file is {known.name}"
        if other.kind != known.kind or len(fitting) > 1:
            raise Unusable("row_differs", what)
        self.notes.warn("other_format", f"{what}; read as {other.name}")
        return other

    def _count(self, row: Row) -> None:
        answers = [turn.value for turn in row.conversations[1::2]]
        if isinstance(row, PreferenceRow):
            answers.append(row.chosen.value)
        self.with_reasoning += any("<think>" in answer for answer in answers)
        for name in MEDIA_COLUMNS:
            if getattr(row, name, None):
                self.columns.add(name)
        if any(isinstance(turn, UntrainedTurn) for turn in row.conversations[1::2]):
            self.columns.add(WEIGHT)


def _case_hint(row: Mapping[str, Any]) -> str:
    """The flag that helps where only the case of the columns' names is not ours."""
    lower = {name.lower(): name for name in row if isinstance(name, str)}
    if len(lower) < len(row) or not formats_of({low: row[name] for low, name in lower.items()}):
        return ""
    pairs = ",".join(f"{low}={name}" for low, name in lower.items() if low != name)
    return f"; names are read to the letter: --columns {pairs}" if pairs else ""


def _fields(row: Mapping[str, Any], of: Format, named: Set[str], notes: Notes) -> dict[str, Any]:
    """The columns that the format reads, under our names; null and absent are the same.

    Of several columns for one thing the one that the user named is read, else ours.
    """
    fields: dict[str, Any] = {}
    for ours, names in of.columns.items():
        filled = [name for name in names if row.get(name) is not None]
        if not filled:
            continue
        read = next((name for name in filled if name in named), filled[0])
        fields[ours] = row[read]
        if len(filled) > 1:
            elsewhere = {*of.columns} - {ours}
            for name in set(filled) - elsewhere:
                if row[name] != row[read] and row[name] not in ("", []):
                    notes.unused[f"{name} beside {read}"] += 1
    return fields
