"""A JSON document that holds records, read as a stream: memory does not grow with the file.

A list of records, an object with one such list, values written one after another, or any of these
broken somewhere: each record is found, decoded on its own, and named by the line it starts on.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from fine_tuning.dataset.read.batch import Batch
from fine_tuning.dataset.read.json.layout import Layout, layout_at, with_seam
from fine_tuning.dataset.read.json.record import (
    MAX_RECORD,
    Decoded,
    Finding,
    decode_record,
    strict_value,
    too_long,
    unreadable,
)
from fine_tuning.dataset.read.json.window import SPACES, Window, value_end
from fine_tuning.dataset.read.json.wrapper import next_record_list, record_lists
from fine_tuning.units import bytes_text
from fine_tuning.values.data import UNREADABLE, Records

_SPACES = b" \t\n\r\0"
_SEPARATOR = re.compile(rb"[\s,]*")
_COMMA_AND_BRACE = re.compile(rb"\s*,\s*\}")
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
# How far to look for a record's end before its neighbours' layout is asked.
_SHORT = 1 << 16
_OVERLAP = 1000


def read_document(chunks: Iterable[bytes]) -> Iterator[Records]:
    """The records of a JSON document given as chunks of UTF-8 with LF line ends."""
    yield from _Document(Window(chunks)).batches()


class _Document:
    def __init__(self, window: Window) -> None:
        self._window = window
        self._batch = Batch()
        self._layout = Layout()
        self._in_list = False
        self._lists = 0
        self._records = 0
        self._wrapped = ""
        self._slow_until = 0  # offset in the document up to which to read record by record
        self._last_line = 0
        self._commas = 0
        self._needs_comma = False
        self._truncated = False
        self._decoded_at = -1  # offset in the document of the record whose ends are being tried
        self._decoded: dict[int, Decoded] = {}  # its length -> what it is then
        self._searched_mark = b""
        self._searched = 0
        self._found = -1

    def batches(self) -> Iterator[Records]:
        self._open()
        while char := self._window.skip(SPACES):
            self._step(char)
            if self._batch.full:
                yield self._batch.take()
        if self._in_list and not self._truncated:
            self._batch.warn_file(
                "missing_bracket", "the final ] is missing; the file may have been cut off"
            )
        if not self._batch.empty:
            yield self._batch.take()

    def _open(self) -> None:
        """Enter the one list of records of a top-level object, if that is what this is."""
        window = self._window
        if window.skip(SPACES) != b"{":
            return
        lists = record_lists(window)
        if not lists:
            return
        names = ", ".join(f'"{member.key}"' for member in lists)
        if len(lists) > 1:
            self._batch.warn_file("several_lists", _several_lists(names), "error")
            window.drain()
            return
        self._wrapped = lists[0].key
        self._batch.warn_file("wrapped_list", f"the records are those in the list {names}")
        window.advance(lists[0].start)

    def _step(self, char: bytes) -> None:
        window = self._window
        if char == b",":
            self._commas += 1
            window.advance(window.pos + 1)
        elif char == b"]":
            self._end_list()
        elif char == b"[" and not self._in_list:
            self._begin_list()
        elif char == b"}":
            self._stray(char)
        elif not self._many():
            self._one()

    def _begin_list(self) -> None:
        if self._lists:
            self._batch.warn_file(
                "concatenated_json", "several lists follow one another; all were read"
            )
        self._in_list = True
        self._lists += 1
        self._commas = 0
        self._needs_comma = False
        self._window.advance(self._window.pos + 1)

    def _end_list(self) -> None:
        if not self._in_list:
            self._stray(b"]")
            return
        if self._commas:
            self._batch.warn_file(
                "trailing_comma", f"a comma before the final bracket, {self._at()}"
            )
        self._in_list = False
        self._commas = 0
        self._window.advance(self._window.pos + 1)
        if not self._wrapped:
            return
        if _COMMA_AND_BRACE.match(self._window.data, self._window.pos):
            self._batch.warn_file("trailing_comma", f"a comma before the final brace, {self._at()}")
        if other := next_record_list(self._window):
            names = f'"{self._wrapped}", "{other}"'
            self._batch.warn_file("several_lists", _several_lists(names), "error")
            self._window.drain()
        elif self._window.skip(SPACES) == b"}":
            self._window.advance(self._window.pos + 1)
        else:
            self._truncated = True
            self._batch.warn_file(
                "missing_bracket", "the final } is missing; no record is affected"
            )
        self._wrapped = ""

    def _stray(self, char: bytes) -> None:
        text = f"a {char.decode()} that closes nothing, {self._at()}; it was skipped"
        self._batch.warn_file("stray_bracket", text)
        self._window.advance(self._window.pos + 1)

    def _at(self) -> str:
        return f"on line {self._window.line}"

    def _many(self) -> bool:
        """Decode all records up to the last certain cut in the window at once.

        Correct because brackets around the part make valid JSON only if the cut is between
        records; anything doubtful fails here and is read record by record.
        """
        window, seam = self._window, self._layout.seam
        if not seam or window.base + window.pos < self._slow_until:
            return False
        cut = window.data.rfind(seam, window.pos) + self._layout.tail
        if cut <= window.pos + self._layout.tail:
            return False
        try:
            raws = _RAW_LIST.decode(b"[" + window.data[window.pos : cut] + b"]")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._slow_until = window.base + cut
            return False
        data, end, line = window.data, window.pos, window.line
        for raw_view in raws:
            raw = bytes(raw_view)
            gap = _SEPARATOR.match(data, end)
            start = gap.end() if gap else end
            line += data.count(b"\n", end, start)
            end = start + len(raw)
            value = strict_value(raw)
            if value is not UNREADABLE:
                self._batch.add_clean(value, line, raw)
            else:
                self._batch.add(decode_record(raw, line), line, raw)
            line += raw.count(b"\n")
        self._records += len(raws)
        self._last_line = line
        self._commas = 0
        self._needs_comma = True
        window.advance(cut)
        return True

    def _one(self) -> None:
        window = self._window
        line = window.line
        same_line = self._records > 0 and line == self._last_line and not self._in_list
        no_comma = self._needs_comma and not self._commas
        self._layout = layout_at(window.data, window.pos, self._layout)
        decoded, end = self._next_record()
        raw = window.data[window.pos : end].strip()
        note = None
        if same_line and not self._commas:
            note = Finding("concatenated_json", f"several values stand on line {line}")
        elif no_comma and self._in_list:
            note = Finding("missing_comma", "no comma before this record")
        if note and decoded.value is not UNREADABLE:
            decoded = Decoded(decoded.value, (*decoded.findings, note))
        self._batch.add(decoded, line, raw)
        self._records += 1
        self._commas = 0
        self._needs_comma = True
        gap = _SEPARATOR.match(window.data, end)
        if self._in_list and gap and gap.end() < len(window.data):
            self._layout = with_seam(self._layout, window.data, window.pos, end, gap.end())
        window.advance(end)
        self._last_line = window.line

    def _next_record(self) -> tuple[Decoded, int]:
        """The record at the window's position, and the offset after it."""
        if self._layout.lead and (found := self._by_layout()) is not None:
            return found
        decoded, end = self._by_brackets(_SHORT)
        if decoded is None or end is None:
            following = self._following()
            patience = following - self._window.pos + _SHORT if following >= 0 else MAX_RECORD
            if end is None:
                decoded, end = self._by_brackets(patience)
        return (decoded, end) if decoded and end else self._broken(end)

    def _by_brackets(self, limit: int) -> tuple[Decoded | None, int | None]:
        """The record that ends where its brackets close, and that end (None: not within limit)."""
        window = self._window
        end = value_end(window, limit)
        if end is None:
            return None, None
        decoded = self._decode(end)
        return (None if _is_broken(decoded) else decoded), end

    def _decode(self, end: int) -> Decoded:
        """The record from the window's position to `end`; each end is decoded once."""
        window = self._window
        start = window.base + window.pos
        if start != self._decoded_at:
            self._decoded_at, self._decoded = start, {}
        size = end - window.pos
        if size > MAX_RECORD:
            return too_long(size)
        if size not in self._decoded:
            self._decoded[size] = decode_record(window.data[window.pos : end], window.line)
        return self._decoded[size]

    def _following(self) -> int:
        """Where in the window the next record starts that is laid out as the others, or -1.

        What was found, and how far there was nothing, is kept: each byte is searched once.
        """
        window, layout = self._window, self._layout
        if layout.mark != self._searched_mark:
            self._searched_mark, self._searched, self._found = layout.mark, 0, -1
        after = window.pos + 1
        if self._found < window.base + after:
            begin = max(after, self._searched - window.base - _OVERLAP)
            found = layout.next_start(window.data, begin)
            self._found = window.base + found if found >= 0 else -1
            self._searched = window.base + (found if found >= 0 else len(window.data))
        return self._found - window.base if self._found >= 0 else -1

    def _by_layout(self) -> tuple[Decoded, int] | None:
        """The record that ends before the next one starts, if that is the whole of a value."""
        window = self._window
        following = self._following()
        while following < 0 and len(window.data) - window.pos < 1 << 22 and window.more():
            following = self._following()
        if following < 0:
            return None
        end = window.pos + len(window.data[window.pos : following].rstrip(_SPACES + b","))
        decoded = self._decode(end)
        return None if _is_broken(decoded) else (decoded, end)

    def _broken(self, end: int | None) -> tuple[Decoded, int]:
        window = self._window
        following = self._following()
        if following >= 0 and (end is None or following < end):
            end = window.pos + len(window.data[window.pos : following].rstrip(_SPACES + b","))
        elif end is None:
            return self._cut_off() if window.ended else self._give_up()
        elif window.data[window.pos] not in b'{["':
            stop = window.data.find(b"\n", end)
            end = window.pos + len(window.data[window.pos : max(stop, end)].rstrip(_SPACES + b",]"))
        return self._decode(end), end

    def _cut_off(self) -> tuple[Decoded, int]:
        """The last record goes on to the end of the file without being closed."""
        window = self._window
        end = window.pos + len(window.data[window.pos :].rstrip(_SPACES))
        decoded = self._decode(end)
        if not _is_broken(decoded):
            return decoded, end
        self._truncated = True
        last = window.line + window.data.count(b"\n", window.pos, end)
        return unreadable("truncated", f"the file ends on line {last}, inside this record"), end

    def _give_up(self) -> tuple[Decoded, int]:
        """A record that never ends: the rest of the file cannot be told apart."""
        window = self._window
        self._truncated = True
        message = (
            f"no end of this record within {bytes_text(MAX_RECORD)}; nothing after it was read"
        )
        start = window.data[window.pos : window.pos + 1000]
        window.drain()
        window.data = start
        return unreadable("record_too_long", message), len(start)


def _is_broken(decoded: Decoded) -> bool:
    """Whether another end of the record might make it whole."""
    return decoded.value is UNREADABLE and decoded.findings[0].code in ("json_syntax", "nul")


def _several_lists(names: str) -> str:
    return (
        f"the file holds several lists of records ({names}); which are meant? Save each as a file"
        " of its own"
    )
