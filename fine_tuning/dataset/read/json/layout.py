"""How the records of a document are laid out, learnt from those already read.

It serves two ends: many records can be decoded at once where a cut is certain, and after a broken
record reading goes on at the next one instead of giving up the rest of the file.
"""

import re
from dataclasses import dataclass, replace

_HEAD = re.compile(rb'\{\s*"[^"\\\n]{1,100}"\s*:')
_TAIL = re.compile(rb"[\]}\s]*\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """`mark` is how a record starts; `seam` what lies between two (`tail` bytes of the first)."""

    mark: bytes = b""
    lead: int = 0
    seam: bytes = b""
    tail: int = 0
    pattern: re.Pattern[bytes] | None = None

    def next_start(self, data: bytes, after: int) -> int:
        """The offset of the next record that starts as the others do, or -1.

        Where records start on their own lines at one indentation, that is the mark: inside a
        string there is no raw line break. Else it is a separator and the first record's first key.
        """
        if not self.mark:
            return -1
        if self.lead:
            found = data.find(self.mark, after)
            return found + self.lead if found >= 0 else -1
        match = self.pattern.search(data, after) if self.pattern else None
        return match.start(1) if match else -1


def layout_at(data: bytes, pos: int, known: Layout) -> Layout:
    """The layout that the record at `pos` shows, keeping the seam already known."""
    if data[pos : pos + 1] != b"{":
        return known
    line_start = data.rfind(b"\n", max(0, pos - 200), pos) + 1
    indent = data[line_start:pos] if line_start else b"-"
    if not indent.strip(b" \t"):
        mark = b"\n" + indent + b"{"
        return known if mark == known.mark else replace(known, mark=mark, lead=len(indent) + 1)
    if known.mark or not (head := _HEAD.match(data, pos)):
        return known
    # Possessive: a long run of spaces must not be tried at every length.
    between = re.compile(rb"[}\]]\s*+(?:,\s*+)?(" + re.escape(head[0]) + b")")
    return replace(known, mark=head[0], lead=0, pattern=between)


def with_seam(layout: Layout, data: bytes, start: int, end: int, following: int) -> Layout:
    """The layout with the seam between a record data[start:end] and the next at `following`."""
    tail_start = _TAIL.search(data, max(start, end - 200), end)
    separator = data[end:following]
    if tail_start is None or b"," not in separator or data[following : following + 1] != b"{":
        return layout
    tail = end - tail_start.start()
    seam = data[tail_start.start() : following + 1]
    return replace(layout, seam=seam, tail=tail) if len(seam) < 200 else layout
