"""CSV and TSV: cells are text, a record starts on the line where its first cell starts.

Quotes are taken strictly: a row whose quotes or number of cells do not fit is named, not guessed.
"""

import contextlib
import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fine_tuning.dataset.read.batch import Batch
from fine_tuning.dataset.read.json.record import MAX_RECORD, Decoded, Finding, too_long, unreadable
from fine_tuning.dataset.read.plain import split_lines
from fine_tuning.values.data import Records

DELIMITERS = {"csv": ",", "tsv": "\t"}
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_EXCEL_HINT = re.compile(r'^"?sep=([,;|\t])"?\s*$')
_LOOKAHEAD_LINES = 100
_NAME = re.compile(r'"?[^\W\d]\w{0,40}"?')
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_SENTENCE = re.compile(r".*\S\s.*[.!?]|.*[。！？]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the cells are separated, and what was noticed about it."""

    delimiter: str
    skipped_lines: int = 0
    evidence: str = ""


def sniff_dialect(head: str, kind: str, *, whole: bool) -> Dialect:
    """The delimiter: the one the file's name promises, unless only another gives a table."""
    hint = _EXCEL_HINT.match(head.split("\n", 1)[0])
    if hint:
        return Dialect(hint[1], 1)
    lines = head[: 1 << 16].split("\n")
    if not whole or len(head) > 1 << 16:
        lines.pop()
    expected = DELIMITERS[kind]
    columns, share = _shape(lines, expected)
    if columns > 1 and share > 0.5:
        return Dialect(expected)
    found = {mark: _shape(lines, mark) for mark in _NAMES if mark != expected}
    header = lines[0] if lines else ""
    tables = {
        mark: (count, share)
        for mark, (count, share) in found.items()
        # Names like `instruction;output` are a header, also where several rows are broken.
        if count > 1 and share >= (0.5 if columns == 1 and _names(header, mark) else 0.9)
    }
    if not tables or len(lines) < 2:
        return Dialect(expected)
    best = max(tables, key=lambda mark: tables[mark])
    evidence = f"cells are separated by {_NAMES[best]}: the header has {tables[best][0]} columns"
    return Dialect(best, 0, evidence)


def _names(header: str, mark: str) -> bool:
    """Whether all cells of a first line look like column names."""
    return all(_NAME.fullmatch(cell.strip()) for cell in header.lstrip("\ufeff").split(mark))


def _shape(lines: list[str], delimiter: str) -> tuple[int, float]:
    """Columns of the header, and the share of the rows that have as many."""
    rows: list[int] = []
    reader = csv.reader([line + "\n" for line in lines if line.strip()], delimiter=delimiter)
    with contextlib.suppress(csv.Error):
        for row in reader:
            rows.append(len(row))
    if not rows:
        return 0, 0.0
    return rows[0], sum(count == rows[0] for count in rows) / len(rows)


class _TooLongError(csv.Error):
    """A record goes on beyond MAX_RECORD."""


class _Feed:
    """Physical lines for csv.reader; remembers those of the current record, and takes back."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.line = 0
        self.taken: list[str] = []
        self._size = 0
        self._lines = lines
        self._back: deque[str] = deque()

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self._size > MAX_RECORD:
            raise _TooLongError
        text = self.take()
        if self._size > MAX_RECORD and not text.endswith("\n"):  # else a part were a row
            raise _TooLongError
        return text

    def take(self) -> str:
        """One line more of the current record."""
        text = self._next()
        self.taken.append(text)
        self._size += len(text)
        self.line += text.endswith("\n")
        return text

    def _next(self) -> str:
        if self._back:
            return self._back.popleft()
        return next(self._lines).decode("utf-8", "surrogateescape")

    def skip(self) -> int:
        """Pass over the rest of a long record, up to where its quotes close; gives its size."""
        quotes = sum(text.count('"') for text in self.taken)
        last = self.taken[-1]
        with contextlib.suppress(StopIteration):
            while quotes % 2 or not last.endswith("\n"):
                last = self._next()
                quotes += last.count('"')
                self._size += len(last)
                self.line += last.endswith("\n")
        self.taken = [self.taken[0][:1000]]
        return self._size

    def start(self) -> None:
        self.taken = []
        self._size = 0

    def give_back(self, lines: list[str]) -> None:
        self._back.extendleft(reversed(lines))
        self.line -= sum(line.endswith("\n") for line in lines)

    def peek(self, count: int) -> list[str]:
        while len(self._back) < count:
            line = next(self._lines, None)
            if line is None:
                break
            self._back.append(line.decode("utf-8", "surrogateescape"))
        return [self._back[i] for i in range(min(count, len(self._back)))]


def read_delimited(chunks: Iterable[bytes], dialect: Dialect) -> Iterator[Records]:
    """The rows of delimited UTF-8 text as dicts of text cells; the first row names the columns."""
    csv.field_size_limit(4 * MAX_RECORD)  # the feed stops before
    feed = _Feed(split_lines(chunks))
    for _ in range(dialect.skipped_lines):
        next(feed, None)
    batch = Batch()
    header: list[str] = []
    reader = csv.reader(feed, delimiter=dialect.delimiter, strict=True)
    while True:
        feed.start()
        line = feed.line + 1
        try:
            row = next(reader, None)
        except _TooLongError:
            row, bad = [], _too_long(feed, dialect, len(header))
            batch.add(bad, line, "".join(feed.taken).encode("utf-8", "surrogateescape"))
        except csv.Error as error:
            row, bad = [], _bad_quotes(feed, str(error), dialect, len(header))
            batch.add(bad, line, "".join(feed.taken).encode("utf-8", "surrogateescape"))
        if row is None:
            break
        if not row or (row == [""] and len(header) != 1) or not any(map(str.strip, feed.taken)):
            continue
        if not header:
            header = _header(row, batch)
            if not _is_row(row):
                continue
        _add_row(batch, row, header, line, feed)
        if batch.full:
            yield batch.take()
    if not batch.empty:
        yield batch.take()


def is_name(text: str) -> bool:
    """Whether this may be the name of a column, and is no sentence or number of a first row."""
    long = len(text) > 80 or "\n" in text
    return not (long or _NUMBER.fullmatch(text) or _SENTENCE.fullmatch(text))


def _is_row(first: list[str]) -> bool:
    """Whether at least half of the cells of a first row are no names of columns."""
    cells = [cell.strip() for cell in first if cell.strip()]
    if cells == [str(number) for number in range(len(cells))]:
        return False  # how pandas calls columns that have no names
    return sum(not is_name(cell) for cell in cells) * 2 >= max(1, len(cells))


def _header(row: list[str], batch: Batch) -> list[str]:
    if _is_row(row):
        first = next(cell.strip() for cell in row if not is_name(cell.strip()))
        names = [str(number) for number in range(1, len(row) + 1)]
        batch.warn_file(
            "no_header",
            f'the first row does not name columns ("{first[:40]}"): it is read as a row, and'
            f" the columns are called {', '.join(names[:6])}{', ...' if len(row) > 6 else ''}",
        )
        return names
    names = [name.strip() for name in row]
    while len(names) > 1 and not names[-1]:
        names.pop()
    doubled = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if doubled:
        listed = ", ".join(f'"{name}"' for name in doubled[:10])
        batch.warn_file(
            "duplicate_key", f"the header names {listed} twice; the last column is used"
        )
    if odd := [name for name in names if not is_name(name)]:
        batch.warn_file(
            "no_header",
            f'a column of the first row is called "{odd[0][:40]}", which looks like no name; a'
            " table needs a first row such as instruction,output",
        )
    return names


def _add_row(batch: Batch, row: list[str], header: list[str], line: int, feed: _Feed) -> None:
    size = sum(map(len, row))
    extra = row[len(header) :]
    if len(row) < len(header) or any(extra):
        more = "an unquoted delimiter or quote?" if extra else "a cut row or a line break?"
        message = f"{len(row)} cells, but the header names {len(header)} columns ({more})"
        cut = len(row) < len(header) and feed.taken and not feed.taken[-1].endswith("\n")
        decoded = unreadable("truncated", message) if cut else unreadable("csv_cells", message)
    else:
        decoded = Decoded(dict(zip(header, row, strict=False)))
        if extra and header[-1] and len(header) > 1:
            note = Finding("csv_empty_cells", "empty cells beyond the last column were left out")
            decoded = Decoded(decoded.value, (note,))
    joined = "".join(row)
    if not joined.isascii() and any("\udc80" <= char <= "\udcff" for char in joined):
        decoded = unreadable("undecodable", "a byte that is not valid in this file's encoding")
    elif "\0" in joined:
        decoded = unreadable("nul", "a NUL byte stands in a cell; the file may be damaged")
    bad = any(finding.severity == "error" for finding in decoded.findings)
    raw = "".join(feed.taken).encode("utf-8", "surrogateescape") if bad else None
    batch.add(decoded, line, raw, size)


def _too_long(feed: _Feed, dialect: Dialect, columns: int) -> Decoded:
    """A cell that does not end within the limit: a quote that is never closed, or a long one."""
    if len(feed.taken) > 1 and _look_like_rows(feed.taken[1:], dialect.delimiter, columns):
        feed.give_back(feed.taken[1:])
        feed.taken = feed.taken[:1]
        return unreadable("csv_quote", 'a cell starts with a quote (") that is never closed')
    return too_long(feed.skip())


def _bad_quotes(feed: _Feed, error: str, dialect: Dialect, columns: int) -> Decoded:
    """Decide by the parity of quotes which lines the broken record spans; give back the others."""
    taken = feed.taken
    ended = error.startswith("unexpected end")
    keep = len(taken)
    if ended:
        if len(taken) > 1 and _look_like_rows(taken[1:], dialect.delimiter, columns):
            keep = 1
    elif sum(line.count('"') for line in taken) % 2:
        ahead = feed.peek(_LOOKAHEAD_LINES)
        closing = next((i for i, text in enumerate(ahead) if text.count('"') % 2), None)
        if closing is not None:
            for _ in range(closing + 1):
                feed.take()
            keep = len(taken)
        elif columns > 1:
            keep = 1
    feed.give_back(taken[keep:])
    feed.taken = taken[:keep]
    if ended and keep == len(taken):
        return unreadable("truncated", "a quoted cell is never closed: the file was cut off here?")
    if ended:
        return unreadable("csv_quote", 'a cell starts with a quote (") that is never closed')
    if error.startswith("new-line"):
        return unreadable("csv_line_break", "a lone carriage return stands outside of quotes")
    return unreadable(
        "csv_quote",
        f'quotes do not fit ({error}); inside a quoted cell a quote is written twice ("")',
    )


def _look_like_rows(lines: list[str], delimiter: str, columns: int) -> bool:
    if columns < 2:
        return False
    sample = [line for line in lines[:1000] if line.strip()]
    try:
        rows = list(csv.reader(sample, delimiter=delimiter))
    except csv.Error:
        return False
    return bool(rows) and sum(len(row) == columns for row in rows) >= 0.9 * len(rows)
