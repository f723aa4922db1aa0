"""What a file really is, whatever its name says: by magic bytes, and by how its text begins."""

import re

import msgspec

from fine_tuning.dataset.read.json.window import Window, value_end
from fine_tuning.dataset.read.json.wrapper import OWN_LISTS

# (magic bytes, offset, what it is, what to do)
_BINARY = (
    (b"\x89PNG", 0, "a PNG picture", ""),
    (b"\xff\xd8\xff", 0, "a JPEG picture", ""),
    (b"GIF8", 0, "a GIF picture", ""),
    (b"WEBP", 8, "a WebP picture", ""),
    (b"WAVE", 8, "a WAV sound", ""),
    (b"%PDF", 0, "a PDF document", "extract its text first"),
    (b"\xd0\xcf\x11\xe0", 0, "an old Office document (.doc, .xls)", "save it as CSV"),
    (b"7z\xbc\xaf", 0, "a 7z archive", "unpack it first"),
    (b"Rar!", 0, "a RAR archive", "unpack it first"),
    (b"BZh", 0, "a bzip2 archive", "unpack it first (gzip and zstd are read directly)"),
    (b"\xfd7zXZ", 0, "an xz archive", "unpack it first (gzip and zstd are read directly)"),
    (b"ustar", 257, "a tar archive", "unpack it and give its directory"),
    (b"SQLite format 3", 0, "an SQLite database", "export the table as CSV or JSON"),
    (b"\x80\x02", 0, "a Python pickle", "save the rows as JSON Lines (a pickle can run code)"),
    (b"\x80\x04\x95", 0, "a Python pickle", "save the rows as JSON Lines (a pickle can run code)"),
    (b"\x80\x05\x95", 0, "a Python pickle", "save the rows as JSON Lines (a pickle can run code)"),
    (b"\x93NUMPY", 0, "a NumPy array", "save the rows as JSON Lines"),
    (b"\x89HDF", 0, "an HDF5 file", "save the rows as JSON Lines"),
    (b"\x7fELF", 0, "a program", ""),
    (b"ID3", 0, "an MP3 sound", ""),
    (b"OggS", 0, "an Ogg file", ""),
    (b"ftyp", 4, "an MP4 video", ""),
)
_ZIPPED = (
    (b"xl/", "an Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"word/", "a Word document", "save it as plain text"),
    (b"ppt/", "a PowerPoint file", ""),
)
_STRING = r'"(?:[^"\\]|\\.)*"'
_LIST_INSIDE = re.compile(
    rf"\s*\{{(?:\s*{_STRING}\s*:\s*(?:{_STRING}|[-+.\w]+)\s*,){{0,20}}\s*({_STRING})\s*:\s*\[\s*[{{\]]"
)
_CSV_LINE = re.compile(r"[^,;|\t\n]+([,;|\t][^,;|\t\n]*)+")


def columnar_kind(head: bytes) -> str:
    """`parquet` or `arrow` by magic bytes."""
    if head.startswith(b"PAR1"):
        return "parquet"
    stream = head.startswith(b"\xff\xff\xff\xff") and len(head) >= 8
    return "arrow" if head.startswith((b"ARROW1", b"FEA1")) or stream else ""


def binary_content(head: bytes) -> tuple[str, str]:
    """What binary content this is, and what to do with it; ("", "") if it may be text."""
    for magic, offset, name, fix in _BINARY:
        if head[offset : offset + len(magic)] == magic:
            return name, fix
    if head.startswith(b"PK\x03\x04"):
        for mark, name, fix in _ZIPPED:
            if mark in head:
                return name, fix
        return "a zip archive", "unpack it and give its files or directory"
    return "", ""


def is_noise(head: bytes) -> bool:
    """Whether bytes that are in no 16-bit encoding have too many control characters for text."""
    control = len(re.findall(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]", head[:4096]))
    return control > max(8, len(head[:4096]) * 0.05)


def json_layout(text: str, *, whole: bool, lines_promised: bool = False) -> str:
    """`jsonl`, `json` (one document, or values that span lines) or `` if it is not JSON.

    `text` is the beginning of a file; `whole` says that it is all of it, `lines_promised` that the
    name is that of JSON Lines.
    """
    body = text.lstrip("\ufeff\0 \t\n\r")
    if not body:
        return ""
    if body[0] == "[":
        return "json"
    lines = [line for line in body[: 1 << 18].split("\n") if line.strip("\0 \t\r")]
    cut = ""
    if len(lines) > 1 and not (whole and len(body) <= 1 << 18):
        cut = lines.pop()
    lines = lines[:200]
    objects = [line for line in lines if line.lstrip().startswith("{")]
    complete = sum(map(_is_object, objects))
    if body[0] != "{":
        return "jsonl" if complete * 2 >= len(lines) else ""
    if _is_object(lines[0]):
        return "jsonl" if len(lines) > 1 or cut.startswith("{") else "json"
    if _wraps_a_list(body, lines):
        return "json"
    if lines_promised and not whole and "\n" not in body:
        return "jsonl"  # the first line is longer than what was looked at
    return "json" if _spans_lines(body, objects) else "jsonl"


def _wraps_a_list(body: str, lines: list[str]) -> bool:
    """Whether an object with one list inside begins here, and not a broken row that has a list:
    further rows would begin like the first."""
    opening = _LIST_INSIDE.match(body)
    if opening is None or opening[1].strip('"') in OWN_LISTS:
        return False
    others = map(_LIST_INSIDE.match, lines[1:])
    return not any(other is not None and other[1] == opening[1] for other in others)


def _spans_lines(body: str, objects: list[str]) -> bool:
    """Whether the first object, which does not end on its line, goes on over further lines."""
    window = Window(())
    window.data, window.ended = body[: 1 << 18].encode(), True
    end = value_end(window)
    if end is not None:
        first = window.data[:end]
        # A first line that ends on its own is one broken record of JSON Lines.
        return b"\n" in first and (_decodes(first) or not any(map(_is_object, objects[1:])))
    if len(objects) < 2:
        return True
    return sum(line.rstrip().endswith((",", "{", "[")) for line in objects[1:]) * 2 >= len(objects)


def _is_object(line: str) -> bool:
    """Whether a line is a whole object; a comma after it is the seam of a list."""
    return line.lstrip().startswith("{") and _decodes(line.strip().rstrip(",").encode())


def _decodes(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def looks_like(text: str) -> str:
    """What text is that was expected to be JSON, for the message."""
    body = text.lstrip("\ufeff \t\r\n")
    if body[:1] == "<":
        return "a web page or XML (what a failed download leaves)"
    if body.startswith(("//", "/*")):
        return "JSON with comments, which JSON does not have: remove them"
    if body.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the data itself (run `git lfs pull`)"
    lines = body.split("\n")[:3]
    if len(lines) > 1 and all(_CSV_LINE.match(line) for line in lines if line):
        return "a table (name it .csv or .tsv)"
    return "plain text"
