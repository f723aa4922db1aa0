"""How one file's rows are converted: its format, its column names, and what has been noted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.canonical import PreferenceRow, Row, encode_row
from fine_tuning.dataset.convert.rows import CONVERTERS
from fine_tuning.dataset.convert.values import Notes, Unusable, shown, type_name
from fine_tuning.dataset.formats import Format, all_formats
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
        self.columns: set[str] = set()
        self._convert = CONVERTERS[self.format.converter] if self.format else _unknown
        self._names = tuple(self.format.columns.items()) if self.format else ()

    def convert(self, value: Any) -> Converted:
        """The canonical row of one record, or the reason why there is none."""
        notes = self.notes
        notes.warnings.clear()
        try:
            row = self._convert(self._fields(value), notes)
            data = encode_row(row)
        except Unusable as unusable:
            return Converted(None, (unusable.code, unusable.message), tuple(notes.warnings))
        except UnicodeEncodeError:
            message = "half of a surrogate pair stands in the text; it cannot be written"
            return Converted(None, ("lone_surrogate", message), tuple(notes.warnings))
        self._count(row)
        return Converted(data, None, tuple(notes.warnings))

    def _fields(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Unusable(
                "not_an_object", f"the record is {type_name(value)} ({shown(value)}), not an object"
            )
        row = renamed(value, self.plan.renames)
        if self.plan.recognised:
            fitting = formats_of(row)
            self._vote(fitting)
            if self.format is None:
                raise Unusable(
                    "format_unknown", f"the columns {shown(list(value), 200)} fit no known format"
                )
            if fitting and not {self.plan.format, *self.format.includes} & set(fitting):
                raise Unusable(
                    "other_format",
                    f"the row's columns are of {' or '.join(fitting)}, the file's rows are"
                    f" {self.plan.format} ({self.format.expected()})",
                )
        fields = {}
        for ours, names in self._names:
            for name in names:
                found = row.get(name)
                if found is not None:
                    fields[ours] = found
                    break
        return fields

    def _vote(self, fitting: tuple[str, ...]) -> None:
        if fitting in self.votes or len(self.votes) < MAX_VOTES:
            self.votes[fitting] += 1

    def _count(self, row: Row) -> None:
        answers = [turn.value for turn in row.conversations[1::2]]
        if isinstance(row, PreferenceRow):
            answers.append(row.chosen.value)
        self.with_reasoning += any("<think>" in answer for answer in answers)
        for name in ("images", "videos", "audios"):
            if getattr(row, name, None):
                self.columns.add(name)


def _unknown(fields: Mapping[str, Any], notes: Notes) -> Row:
    raise Unusable("format_unknown", "the record fits no known format")
