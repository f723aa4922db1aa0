"""How the records of a document are laid out, learnt from those already read.

It serves two ends: many records can be decoded at once where a cut is certain, and after a broken
record reading goes on at the next one instead of giving up the rest of the file.
"""

import re
from dataclasses import dataclass

_HEAD = re.compile(rb'\{\s*"[^"\\\n]{1,100}"\s*:')
_TAIL = re.compile(rb"[\]}\s]*\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """`mark` is how a record starts; `seam` what lies between two (`tail` bytes of the first)."""

    mark: bytes = b""
    lead: int = 0
    seam: bytes = b""
    tail: int = 0

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
        match = re.compile(rb"[}\]]\s*,?\s*(" + re.escape(self.mark) + b")").search(data, after)
        return match.start(1) if match else -1


def layout_at(data: bytes, pos: int, known: Layout) -> Layout:
    """The layout that the record at `pos` shows, keeping the seam already known."""
    if data[pos : pos + 1] != b"{":
        return known
    start = data.rfind(b"\n", max(0, pos - 200), pos) + 1
    indent = data[start:pos]
    if start and not indent.strip(b" \t"):
        return Layout(b"\n" + indent + b"{", len(indent) + 1, known.seam, known.tail)
    head = _HEAD.match(data, pos)
    return Layout(head[0], 0, known.seam, known.tail) if head and not known.mark else known


def with_seam(layout: Layout, data: bytes, start: int, end: int, following: int) -> Layout:
    """The layout with the seam between a record data[start:end] and the next at `following`."""
    tail_start = _TAIL.search(data, max(start, end - 200), end)
    separator = data[end:following]
    if tail_start is None or b"," not in separator or data[following : following + 1] != b"{":
        return layout
    tail = end - tail_start.start()
    seam = data[tail_start.start() : following + 1]
    return Layout(layout.mark, layout.lead, seam, tail) if len(seam) < 200 else layout
