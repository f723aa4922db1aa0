"""How one file's rows are converted: its format, its column names, and what has been noted."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.canonical import PreferenceRow, Row, UntrainedTurn, encode_row
from fine_tuning.dataset.convert.doubts import doubts_of, may_hold_doubts
from fine_tuning.dataset.convert.rows import CONVERTERS
from fine_tuning.dataset.convert.values import Notes, Tags, Unusable, shown, type_name
from fine_tuning.dataset.recognise.by_columns import ALONE, Votes, formats_of, renamed
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS, WEIGHT, Format, all_formats

UNUSED = " (not used)"  # what a column is renamed to that must not be read
MAX_VOTES = 64  # different sets of columns that are told apart


@dataclass(frozen=True)
class Media:
    """Where the paths of pictures, videos and sounds start from, and where those are written whose
    bytes stand in the rows (None: nowhere)."""

    root: Path = field(default_factory=Path)
    extracted: Path | None = None


@dataclass(frozen=True)
class Plan:
    """The decisions for one file; `format` is empty if none was found yet.

    `recognised` says that the format was not named by the user, so that a row of another format
    is called that, and every row has a vote.
    """

    format: str
    renames: Mapping[str, str] = field(default_factory=dict)
    media: Media = Media()
    recognised: bool = False
    tags: Tags = Tags()
    allow_unanswered: bool = False


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
        self.notes = Notes(plan.media.root, plan.media.extracted, plan.tags, plan.allow_unanswered)
        self._named = frozenset(plan.renames.values())
        self._inner = frozenset(name for name in plan.renames if "." in name)
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
        if may_hold_doubts(data):
            notes.warnings += doubts_of(row)
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
        fields = _fields(row, chosen, self._named, self.notes, self._inner)
        return CONVERTERS[chosen.converter](fields, self.notes)

    def _format_of(self, row: Mapping[str, Any]) -> Format | None:
        """The file's format, or the row's own where its columns clearly have another."""
        fitting = formats_of(row)
        if fitting in self.votes or len(self.votes) < MAX_VOTES:
            self.votes[fitting] += 1
        known = self.format
        own = {known.name, *known.includes, ALONE} if known else set()
        if known is None or not fitting or own & set(fitting):
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
    known = {
        name for of in all_formats().values() for names in of.columns.values() for name in names
    }
    pairs = ",".join(f"{low}={name}" for low, name in lower.items() if low != name and low in known)
    return f"; names are read to the letter: --columns {pairs}" if pairs else ""


def _fields(
    row: Mapping[str, Any], of: Format, named: Set[str], notes: Notes, inner: Set[str]
) -> dict[str, Any]:
    """The columns that the format reads, under our names; null and absent are the same."""
    filled = tuple([name for name, value in row.items() if value is not None])
    found = _assigned(of.name, filled, frozenset(named))
    if len(found) < len(filled):
        read = set(found.values())
        for name in filled:
            if name not in read:
                _note_unread(name, row, found, named, of, notes, inner)
    return {ours: row[name] for ours, name in found.items()}


@lru_cache(4096)
def _assigned(of: str, filled: tuple[str, ...], named: frozenset[str]) -> Mapping[str, str]:
    """As `Format.assigned`; most files have few sets of columns."""
    return all_formats()[of].assigned(filled, named)


def _note_unread(
    name: str,
    row: Mapping[str, Any],
    found: Mapping[str, str],
    named: Set[str],
    of: Format,
    notes: Notes,
    inner: Set[str],
) -> None:
    """A column that is not read: of no known name, or beside another for the same thing. `inner`
    are the paths that lead into columns."""
    ours = next((ours for ours, names in of.columns.items() if name in names), None)
    rival = found.get(ours, "") if ours else ""
    if any(path.startswith(f"{name}.") for path in inner):
        return
    differs = not rival or (row[name] not in ("", [], row[rival]) and rival not in named)
    if differs and not name.endswith(UNUSED):
        notes.unread.see(name, row[name], beside=rival)
