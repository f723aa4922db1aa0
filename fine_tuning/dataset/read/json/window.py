"""A sliding window over a stream of bytes, and where a JSON value in it ends."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fine_tuning.dataset.read.json.record import MAX_RECORD

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{]+|[\]}]+|"', re.DOTALL)
SPACES = re.compile(rb"[ \t\n\r\0]*")
SEPARATORS = re.compile(rb"[ \t\n\r\0,]*")
_SCALAR_END = re.compile(rb"[\s,\[\]{}]")


class Window:
    """The unread part of a document: `data[pos:]`; `line` is the physical line of `pos`.

    `base` is the offset of `data` in the document.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.data = b""
        self.pos = 0
        self.base = 0
        self.line = 1
        self.ended = False
        self._chunks = iter(chunks)

    def more(self) -> bool:
        """Read on, at least doubling what is unread; False if nothing is left."""
        if self.ended:
            return False
        rest = self.data[self.pos :]
        parts, size, wanted = [rest], len(rest), max(2 * len(rest), 1)
        while size < wanted:
            chunk = next(self._chunks, b"")
            if not chunk:
                self.ended = True
                break
            parts.append(chunk)
            size += len(chunk)
        self.base += self.pos
        self.data, self.pos = b"".join(parts), 0
        return size > len(rest)

    def advance(self, to: int) -> None:
        """Move on to offset `to` of `data`."""
        self.line += self.data.count(b"\n", self.pos, to)
        self.pos = to

    def drain(self) -> None:
        """Leave the rest of the document unread."""
        for _ in self._chunks:
            pass
        self.data, self.pos, self.ended = b"", 0, True

    def skip(self, junk: re.Pattern[bytes]) -> bytes:
        """Skip what `junk` matches, reading on; the next byte, or nothing at the end."""
        while True:
            match = junk.match(self.data, self.pos)
            self.advance(match.end() if match else self.pos)
            if self.pos < len(self.data):
                return self.data[self.pos : self.pos + 1]
            if not self.more():
                return b""


@dataclass(slots=True)
class Scan:
    """How far the search for the end of a value has come, relative to the value's start."""

    at: int = 0
    depth: int = 0


def value_end(window: Window, limit: int = MAX_RECORD) -> int | None:
    """The offset after the value at `window.pos`, reading on as needed.

    None if the value does not end within `limit` bytes or before the end of the document.
    """
    scan = Scan()
    first = window.data[window.pos : window.pos + 1]
    while True:
        end = _scan_on(window, scan, limit) if first in b'{["' else _scalar_end(window)
        if end is not None:
            return end
        if len(window.data) - window.pos >= limit or not window.more():
            return None


def _scan_on(window: Window, scan: Scan, limit: int) -> int | None:
    data, base = window.data, window.pos
    stop = min(len(data), base + limit)
    for token in _TOKEN.finditer(data, base + scan.at, stop):
        char = data[token.start()]
        scan.at = token.end() - base
        if char == 0x22:  # a quote: a whole string, or one that goes on beyond the window
            if token.end() - token.start() == 1:
                scan.at = token.start() - base
                return None
            if scan.depth == 0:
                return token.end()
        elif char in b"{[":
            scan.depth += token.end() - token.start()
        else:
            scan.depth -= token.end() - token.start()
            if scan.depth <= 0:
                return token.end() + scan.depth
    return None


def _scalar_end(window: Window) -> int | None:
    match = _SCALAR_END.search(window.data, window.pos + 1)
    if match:
        return match.start()
    return len(window.data) if window.ended else None
