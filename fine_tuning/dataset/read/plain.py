"""Plain text: each line that is not blank is one record {"text": line}, or the file is one."""

from collections.abc import Iterable, Iterator

from fine_tuning.dataset.read.batch import Batch
from fine_tuning.dataset.read.json.record import MAX_RECORD, Decoded, too_long, unreadable
from fine_tuning.units import bytes_text
from fine_tuning.values.data import Records


def read_plain(chunks: Iterable[bytes], *, document: bool = False) -> Iterator[Records]:
    """The lines of UTF-8 text with LF line ends, without their line break, blank ones skipped; all
    of it as one record if it is one `document`."""
    batch = Batch()
    if document:
        yield from _document(chunks, batch)
        return
    number, start, size = 1, b"", 0
    for raw in split_lines(chunks):
        ends = raw.endswith(b"\n")
        if start or (len(raw) > MAX_RECORD and not ends):
            start, size = start or raw[:1000], size + len(raw)
            if ends:
                batch.add(too_long(size), number, start)
                start, size = b"", 0
        elif raw.strip():
            batch.add(_line(raw.rstrip(b"\n")), number, None, len(raw))
        number += ends
        if batch.full:
            yield batch.take()
    if start:
        batch.add(too_long(size), number, start)
    if not batch.empty:
        yield batch.take()


def _document(chunks: Iterable[bytes], batch: Batch) -> Iterator[Records]:
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size <= MAX_RECORD:
            parts.append(chunk)
    if size > MAX_RECORD:
        limit = bytes_text(MAX_RECORD)
        message = (
            f"the document has {bytes_text(size)}, and the limit is {limit}; --text_unit line reads"
            " lines"
        )
        batch.add(unreadable("record_too_long", message), 1, parts[0][:1000])
    elif text := b"".join(parts).strip(b"\n"):
        batch.add(_line(text), 1, None, len(text))
    if not batch.empty:
        yield batch.take()


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their line break; one that exceeds MAX_RECORD comes in several parts."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            # Not splitlines(): a lone CR is no line break here.
            lines = b"".join([*held, chunk[: end - 1]]).split(b"\n")
            yield from (line + b"\n" for line in lines)
            held, size = [], 0
        held.append(chunk[end:])
        size += len(chunk) - end
        if size > MAX_RECORD:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _line(raw: bytes) -> Decoded:
    if b"\0" in raw:
        return unreadable("nul", "a NUL byte stands in the line; the file may be damaged")
    try:
        return Decoded({"text": raw.decode("utf-8")})
    except UnicodeDecodeError as error:
        bad = raw[error.start : error.start + 1].hex()
        return unreadable("undecodable", f"byte 0x{bad} is not valid in this file's encoding")
