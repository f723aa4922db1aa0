"""Lines of JSON to canonical rows on the fast path, a piece of a block at a time.

Most files are even: every row is laid out as the first. There the rows are decoded together, and
that the layout gives the piece again shows that nothing was lost (a repeated key, a line with two
rows). Any other piece is decoded line by line, and its keys are counted.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from fine_tuning.dataset.convert.doubts import holds_no_mark, may_hold_doubts
from fine_tuning.dataset.convert.fast_path.path import FastPath, Key
from fine_tuning.dataset.convert.fast_path.spelling import has_needless_escapes, is_utf8, respelt

PIECE = 1 << 16  # small enough that one odd row costs little, and for a processor's cache
_NO_ROW = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# Such a key would not be counted. Within a text every quote is escaped.
_ESCAPED_KEY = re.compile(rb'[{,]\s*"[^"\\]*\\')


def canonical_lines(data: bytes, fast: FastPath) -> list[bytes | None]:
    """Canonical bytes by line, None for lines that need the general path.

    Where a row takes several lines (a value that is no text may hold a line break) the list is
    shorter than the lines, and that row is None.
    """
    made: list[bytes | None] = []
    for piece in _pieces(data):
        rows = _even_rows(piece, fast)
        if rows is None:
            rows = _counted_rows(piece, fast.decoder.decode, fast.keys)
        spell = respelt if has_needless_escapes(piece) else bytes
        make = fast.make
        before = replace(fast.counts)
        of_piece = [None if row is None else make(row, spell) for row in rows]
        clear = spell is bytes and holds_no_mark(piece)  # then so are the rows made of it
        if not clear and may_hold_doubts(b"\n".join(filter(None, of_piece))):
            left = [
                None if data is None or may_hold_doubts(data) else row
                for data, row in zip(of_piece, rows, strict=True)
            ]
            fast.counts.reset_to(before)
            of_piece = [None if row is None else make(row, spell) for row in left]
        made += of_piece
    return made


def _pieces(data: bytes) -> Iterator[bytes]:
    """The data, cut after line ends."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + PIECE) + 1 or len(data)
        yield data[start:end]
        start = end


def _even_rows(piece: bytes, fast: FastPath) -> list[Any] | None:
    """The rows of a piece that is laid out as its first line is, in one of the usual layouts."""
    first = piece[: piece.find(b"\n") + 1]
    try:
        head = fast.decoder.decode_lines(first)
        written = next((written for written in fast.layouts if written(head) == first), None)
        if written is None or not is_utf8(piece):
            return None
        rows = fast.decoder.decode_lines(piece)
    except _NO_ROW:
        return None
    return rows if written(rows) == piece else None


def _counted_rows(piece: bytes, decode: Any, keys: Sequence[Key]) -> list[Any]:
    """The row of each line; None for one that cannot be decoded, or may have a key twice."""
    lines = piece.split(b"\n")
    if not lines[-1]:
        lines.pop()
    clear = is_utf8(piece) and not has_needless_escapes(piece)
    rows: list[Any] = []
    for line in lines:
        try:
            # valid UTF-8, and no key is spelt with escapes
            is_clear = clear or (is_utf8(line) and not _ESCAPED_KEY.search(line))
            rows.append(decode(line) if is_clear else None)
        except _NO_ROW:
            rows.append(None)
    for index in _repeating_lines(piece, lines, rows, keys):
        rows[index] = None
    return rows


def _repeating_lines(
    data: bytes, lines: list[bytes], rows: list[Any], keys: Sequence[Key]
) -> set[int]:
    """Lines in which a key may stand twice: its quoted name is counted, in any layout.

    Within JSON text a quote is escaped, so only keys, and values that are just that word, count.
    """
    unread = [lines[i] for i, row in enumerate(rows) if row is None] if None in rows else []
    doubtful: set[int] = set()
    read = len(rows) - len(unread)
    for key in keys:
        quoted, count = key.quoted, key.count
        found = data.count(quoted) - sum(line.count(quoted) for line in unread)
        expected = sum(count(row) for row in rows if row is not None) if count else read
        if found != expected:
            doubtful.update(
                index
                for index, row in enumerate(rows)
                if row is not None and lines[index].count(quoted) != (count(row) if count else 1)
            )
    return doubtful
