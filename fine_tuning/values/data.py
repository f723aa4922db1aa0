"""The values that pass between reading, converting, checking and reporting.

source --read--> Block | Records --convert--> canonical rows --account--> CheckedData
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.tables.kinds import Kind

NUMBERS = ".numbers"  # beside the rows of a part: their numbers among the checked ones
Severity = Literal["error", "warning"]


class _Missing:
    """The one value that stands for a record which could not be read."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE = _Missing()


class WrittenNumber(float):
    """A number of a JSON file whose own notation (`1.10`, `1e5`) Python would not give back."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "WrittenNumber":
        """The number that `text` writes; ValueError if it is none."""
        number = super().__new__(cls, text)
        number.text = text
        return number


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a row (or, if `line` and `row` are None, with a whole file).

    An `error` drops the row; a `warning` says what was repaired or looks wrong. `line` is the
    1-based physical line on which the record starts, `row` the 0-based record of the file.
    """

    file: str
    line: int | None
    row: int | None
    code: str
    message: str
    severity: Severity

    @property
    def place(self) -> str:
        """File and line; in a file of one line the index of the row (from 0) says where."""
        if self.line is None:
            return self.file
        in_line = f" (row index {self.row})" if self.line == 1 and self.row else ""
        return f"{self.file}:{self.line}{in_line}"


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """A problem that the reader found in record `index` of a batch (None: in the whole file)."""

    index: int | None
    code: str
    message: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Block:
    """Undecoded JSON Lines, clean UTF-8 without BOM or CR, cut after a newline: the fast path.

    The converter decodes it whole; if that fails it asks `read.decode_block` for `Records`.
    `first_line` is the 1-based line of the first byte.
    """

    data: bytes
    first_line: int

    @property
    def is_empty(self) -> bool:
        """Whether it tells nothing: no record, and no error."""
        return False

    def moved(self, lines: int) -> "Block":
        """The same behind so many lines of the file."""
        return replace(self, first_line=self.first_line + lines)


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records of one file, decoded; `values[i]` is UNREADABLE where a problem says why.

    `raw[i]`, where known, is the record as it stood in the file (for `rejected.jsonl`).
    """

    values: Sequence[Any]
    lines: Sequence[int]
    problems: Sequence[RecordProblem] = ()
    raw: Sequence[bytes | None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it tells nothing: no record, and no error."""
        return not self.values and all(it.severity != "error" for it in self.problems)

    def moved(self, lines: int) -> "Records":
        """The same behind so many lines of the file."""
        return replace(self, lines=[line + lines for line in self.lines])


@dataclass(frozen=True, kw_only=True)
class FileAccount:
    """What became of one file: rows_read == rows_kept + rows_dropped."""

    path: Annotated[str, "as it was found"]
    format: Annotated[str, "how its rows are shaped"]
    kind: Annotated[Kind, "what its rows are"]
    encoding: Annotated[str, "of its text"]
    sha256: Annotated[str, "of its content"]
    rows_read: Annotated[int, "records"]
    rows_kept: Annotated[int, "usable ones"]
    rows_dropped: Annotated[int, "the others"]
    evidence: Annotated[str, "by what the format was recognised"] = ""
    split: Annotated[str, "train, or what the names of files and folders say"] = "train"


@dataclass(frozen=True, kw_only=True)
class CheckedData:
    """A dataset after reading and checking; its rows lie on disk, in canonical form.

    `rows_path` holds one canonical row per line (docs/data.md); line i belongs to entry i of
    `origins_path`: little-endian (uint32 index into `files`, uint64 1-based line), 12 bytes each.
    `validation_path`/`validation_origins_path` hold the validation split that the data brought
    along, if any. `fingerprint` changes exactly when the kept rows or the
    sizes of their media change.
    """

    format: str
    kind: Kind
    files: tuple[FileAccount, ...]
    rows_read: int
    rows_kept: int
    rows_dropped: int
    rows_path: Path
    origins_path: Path
    report_path: Path
    rejected_path: Path
    fingerprint: str
    validation_path: Path | None = None
    validation_origins_path: Path | None = None
    validation_rows: int = 0
    columns: frozenset[str] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[ProblemGroup, ...] = ()
    media: str | None = ""  # the state of the files that rows name; None: not known


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """The two files that the engine reads, and what became of the rows.

    `train_rows + val_rows + dropped == rows of CheckedData` (with its own validation split);
    `dropped` counts by reason (overlong, duplicate ...), `cut` counts rows kept shortened, and
    `problems` are the causes.
    """

    train_path: Path
    val_path: Path | None
    train_rows: int
    val_rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[ProblemGroup, ...] = ()

    @property
    def numbers_path(self) -> Path:
        """Numbers of the training rows among the checked ones (little-endian uint32)."""
        return self.train_path.with_suffix(NUMBERS)
