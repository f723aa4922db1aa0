"""JSON Lines: cut into blocks that a converter decodes whole, and the tolerant way, by line."""

import json
import re
from collections.abc import Iterable, Iterator

from fine_tuning.dataset.read.batch import Batch
from fine_tuning.dataset.read.json.record import (
    MAX_RECORD,
    Decoded,
    Finding,
    decode_record,
    strict_value,
    too_long,
    unreadable,
)
from fine_tuning.values.data import UNREADABLE, Block, Records

_SECOND_VALUE = re.compile(r"\s*+(?:,\s*+)?(?=[{\[])")


def cut_blocks(chunks: Iterable[bytes]) -> Iterator[Block | Records]:
    """Blocks of whole lines, of about the size of a chunk; lines end in LF.

    A block ends before a line that starts with `{` where there is one, so that a record with a
    raw line break in its text stays in one block. A line longer than MAX_RECORD is unreadable.
    """
    held: list[bytes] = []
    size = 0
    line = 1
    start = b""  # of a line that is too long
    for chunk in chunks:
        if start:
            end = chunk.find(b"\n") + 1
            size += end - 1 if end else len(chunk)
            if not end:
                continue
            yield _too_long(start, size, line)
            chunk, start, size, line = chunk[end:], b"", 0, line + 1
        cut = chunk.rfind(b"\n{") + 1 or chunk.rfind(b"\n") + 1
        if cut:
            data = b"".join([*held, chunk[:cut]]) if held else chunk[:cut]
            yield Block(data, line)
            line += data.count(b"\n")
            held, size = [], 0
        held.append(chunk[cut:])
        size += len(chunk) - cut
        if size > MAX_RECORD:
            start, held = b"".join(held)[:1000], []
    if start:
        yield _too_long(start, size, line)
    elif size:
        yield Block(b"".join(held), line)


def _too_long(start: bytes, size: int, line: int) -> Records:
    batch = Batch()
    batch.add(too_long(size), line, start)
    return batch.take()


def decode_block(block: Block) -> Records:
    """Every line of a block on its own: good ones decoded, bad ones UNREADABLE with the reason.

    Blank lines are skipped. A record whose text has raw line breaks is joined where the joined
    lines are one record.
    """
    batch = Batch()
    lines = block.data.split(b"\n")
    at_end = bool(lines[-1].strip())
    i = 0
    while i < len(lines):
        number = block.first_line + i
        raw = lines[i].strip()
        i += 1
        if not raw:
            continue
        if (value := strict_value(raw)) is not UNREADABLE:
            batch.add_clean(value, number, raw)
            continue
        decoded = decode_record(raw, number)
        if decoded.value is not UNREADABLE:
            batch.add(decoded, number, raw)
        elif not raw.strip(b"\0"):
            batch.warn_file("nul_stripped", f"line {number} holds only NUL bytes; it was skipped")
        elif decoded.findings[0].code != "json_syntax":
            batch.add(decoded, number, raw)
        elif (joined := _joined(lines, i - 1, number)) is not None:
            whole, used, data = joined
            batch.add(whole, number, data)
            i += used - 1
        elif values := _values_of_line(raw, number):
            for value, part in values:
                batch.add(value, number, part)
        else:
            is_open = raw.startswith((b"{", b"[")) and not raw.endswith((b"}", b"]"))
            if is_open and at_end and i == len(lines):
                why = f"the file ends in the middle of this record ({decoded.findings[0].message})"
                decoded = unreadable("truncated", why)
            batch.add(decoded, number, raw)
    return batch.take()


def _joined(lines: list[bytes], start: int, number: int) -> tuple[Decoded, int, bytes] | None:
    """The record that lines `start`... are together, how many they are, and their text."""
    if not lines[start].lstrip().startswith(b"{"):
        return None
    end = start + 1
    while end < len(lines) and not lines[end].startswith(b"{"):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    if end - start < 2:
        return None
    raw = b"\n".join(lines[start:end]).strip()
    decoded = decode_record(raw, number)
    if decoded.value is UNREADABLE:
        return None
    return decoded, end - start, raw


def _values_of_line(raw: bytes, line: int) -> list[tuple[Decoded, bytes]]:
    """Several records written into one line without a line break, if each of them is whole."""
    if not raw.startswith(b"{"):
        return []
    text = raw.decode("utf-8")
    values: list[tuple[Decoded, bytes]] = []
    note = Finding(
        "concatenated_json", f"several records stand on line {line}; they were separated"
    )
    decoder = json.JSONDecoder(strict=False)
    at = 0
    while at < len(text):
        try:
            end = decoder.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            return []
        part = text[at:end].encode()
        decoded = decode_record(part, line)
        values.append((Decoded(decoded.value, (*decoded.findings, note)), part))
        gap = _SECOND_VALUE.match(text, end)
        if gap is None:
            return values if not text[end:].strip(" \t,") else []
        at = gap.end()
    return values
