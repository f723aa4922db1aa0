"""Reads one source as batches, by what its content is: encoding, layout, kind."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.dataset.read.batch import file_problem
from fine_tuning.dataset.read.delimited import read_delimited, sniff_dialect
from fine_tuning.dataset.read.json.document import read_document
from fine_tuning.dataset.read.json.lines import cut_blocks, decode_block
from fine_tuning.dataset.read.looks import doubtful_text, is_document, printed_records, said_unit
from fine_tuning.dataset.read.plain import read_plain
from fine_tuning.dataset.read.raw.content import (
    binary_content,
    columnar_kind,
    is_noise,
    json_layout,
    looks_like,
)
from fine_tuning.dataset.read.raw.encoding import Encoding, Utf8Stream, decide_encoding
from fine_tuning.dataset.read.raw.stream import ByteRange, ByteStream, head_of, sha256_of
from fine_tuning.dataset.sources.source import Source, kind_of_name
from fine_tuning.errors import DataError
from fine_tuning.values.data import Block, Records

HEAD = 1 << 20
_SPOT = 1 << 16
_SPOTS = 64
_JSON = ("json", "jsonl")
_QUOTED = re.compile(r'"[^"]*(?:"|\Z)')
_WEB_PAGE = re.compile(r"[\ufeff\s]*<(!doctype\s+html|html)\b", re.IGNORECASE)
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file was found to hold. `kind` is empty if nothing can be read; then `problem` says
    why (code, message). `whole` says that `head` (text) is all of the file, `cr_ends` that the
    rows of a table end with CR alone (an LF can then stand in a cell)."""

    kind: str
    encoding: Encoding = Encoding("utf-8")
    head: str = ""
    whole: bool = False
    problem: tuple[str, str] = ("", "")
    cr_ends: bool = False
    document: bool = False


class Reading:
    """One pass over a source: iterate once, then look at what it was.

    After the iteration `encoding` is the file's encoding, `sha256` that of its bytes on disk
    (of a range: empty), `lines` the number of its physical lines (of a range: the lines in it;
    add those of the ranges before to the lines of its records).
    """

    def __init__(self, source: Source, part: ByteRange | None = None) -> None:
        self.encoding = ""
        self.sha256 = ""
        self.lines = 0
        self._source = source
        self._part = part
        self._stream = ByteStream(source.path, source.compression, part)

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file were read so far; of a columnar file all at its end."""
        return self._stream.done

    def __iter__(self) -> Iterator[Block | Records]:
        try:
            yield from self._batches()
        except OSError as error:
            raise unreadable_file(self._source, error) from error

    def _batches(self) -> Iterator[Block | Records]:
        source = self._source
        if source.unusable:
            raise DataError(source.unusable)
        content = Content("jsonl") if self._part else recognise(source)
        self.encoding = content.encoding.name
        if not content.kind:
            yield file_problem(*content.problem)
            self.sha256 = sha256_of(source.path)
        elif content.kind in ("parquet", "arrow"):
            yield from self._columnar()
        else:
            yield from self._text(content)

    def _columnar(self) -> Iterator[Records]:
        from fine_tuning.dataset.read.columnar import read_columnar

        self.encoding = ""
        found = False
        for records in read_columnar(self._source.path, self._source.compression):
            self.lines += len(records.values)
            found = found or bool(records.values or records.problems)
            yield records
        if not found:
            yield file_problem("no_records", "the file holds no record")
        self.sha256 = sha256_of(self._source.path)

    def _text(self, content: Content) -> Iterator[Block | Records]:
        stream = self._stream
        newlines = content.kind not in ("csv", "tsv") or content.cr_ends
        utf8 = Utf8Stream(stream, content.encoding, newlines=newlines)
        for code, message in _notes(self._source, content):
            yield file_problem(code, message, "warning")
        found = False
        for batch in _read(content, utf8):
            found = found or not batch.is_empty
            yield batch
        self.lines = utf8.lines
        if utf8.cr and content.kind in _JSON:
            yield file_problem("crlf", "line ends CR or CRLF were read as LF", "warning")
        if stream.cut:
            damage = (
                f"{stream.cut}: the rows up to line {self.lines} were read, the rest is lost; get"
                " the file again"
            )
            yield file_problem("damaged_file", damage)
        elif not found and self._part is None:
            yield file_problem("no_records", "the file holds no record")
        if self._part is None:
            self.sha256 = stream.sha256


def open_batches(source: Source, part: ByteRange | None = None) -> Reading:
    """The records of a source, in file order, in bounded memory.

    JSON Lines come as `Block`s (decode them whole, or with `decode_block` where that fails),
    everything else as `Records`. What is wrong with a record or with the file as a whole stands
    in the problems; only a file that cannot be opened raises DataError.
    """
    return Reading(source, part)


def split_ranges(source: Source, parts: int) -> list[ByteRange]:
    """At most `parts` ranges of an uncompressed UTF-8 JSON Lines file, for several processes.

    Empty if the file must be read as one. The ranges follow each other and cover the file; each
    begins at a record.
    """
    if source.compression or parts < 2 or source.kind not in _JSON or source.size < parts:
        return []
    content = recognise(source)
    plain = content.kind == "jsonl" and content.encoding == Encoding("utf-8")
    if not plain or "\r" in content.head.replace("\r\n", ""):
        return []
    starts = [0]
    with source.path.open("rb") as file:
        for i in range(1, parts):
            file.seek(max(source.size * i // parts - 1, 0))
            file.readline()
            at = file.tell()
            while (line := file.readline()) and not line.startswith(b"{"):
                at = file.tell()
            if starts[-1] < at < source.size:
                starts.append(at)
    ends = [*starts[1:], source.size]
    return [ByteRange(start, end) for start, end in zip(starts, ends, strict=True)]


def recognise(source: Source) -> Content:
    """What the file holds, by its first bytes and samples of the rest."""
    data = head_of(source.path, source.compression, HEAD)
    if not data:
        if not source.size:
            return Content("", problem=("empty_file", "the file is empty"))
        stream = ByteStream(source.path, source.compression)
        for _ in stream:  # to its end, which may be missing
            pass
        if stream.cut:
            return Content("", problem=("damaged_file", "the archive ends before its first row"))
        return Content("", problem=("empty_file", "the archive holds nothing"))
    if kind := columnar_kind(data):
        return Content(kind)
    name, fix = binary_content(data)
    if name:
        advice = f"; {fix}" if fix else ""
        return Content("", problem=("not_text", f"the file is {name}, not a dataset{advice}"))
    if data.startswith(_LFS) and source.kind not in _JSON:
        found = looks_like(data[:100].decode("latin-1"))
        return Content("", problem=("not_text", f"the file is {found}"))
    encoding = decide_encoding(data, _spots(source.path) if not source.compression else ())
    noise = not encoding.wide and is_noise(data)
    if source.kind in ("parquet", "arrow") and (noise or not encoding.name):
        text = f"the file is no {source.kind} file: it begins with {data[:16]!r}"
        return Content("", problem=("damaged_file", text))
    if noise:
        return Content("", problem=("not_text", "the file is binary data, not a dataset"))
    if not encoding.name:
        text = "the text is in no encoding that decodes cleanly; save the file as UTF-8"
        return Content("", problem=("undecodable", text))
    return _of_text(source, data, encoding)


def text_unit(source: Source) -> str:
    """How a file of plain text is cut into texts, in words; nothing for other files."""
    try:
        content = recognise(source)
    except OSError:
        return ""
    return said_unit(source, content.head) if content.kind == "txt" else ""


def _of_text(source: Source, data: bytes, encoding: Encoding) -> Content:
    head = b"".join(Utf8Stream([data], encoding, newlines=False)).decode("utf-8", "replace")
    whole = len(data) < HEAD
    if whole and not head.strip("\ufeff\0 \t\r\n"):
        return Content("", encoding, problem=("empty_file", "the file holds only white space"))
    lines = head.replace("\r\n", "\n").replace("\r", "\n")
    layout = json_layout(lines, whole=whole, lines_promised=source.kind == "jsonl")
    if source.kind in _JSON:
        if printed := printed_records(source, head):
            return Content("", encoding, problem=("kind_doubtful", printed))
        if not layout:
            start = masked(head.lstrip()[:300]).split("\n")[0][:30]
            found = looks_like(head)
            text = f'the file is not JSON: it begins with "{start}" and looks like {found}'
            return Content("", encoding, problem=("not_json", text))
        return Content(layout, encoding, head, whole)
    if _WEB_PAGE.match(head):
        text = "the file is a web page, not a dataset (what a failed download leaves)"
        return Content("", encoding, problem=("not_text", text))
    # A table or a text that starts as JSON does is one only if it decodes as JSON.
    if layout and _is_json(head, layout, whole=whole):
        return Content(layout, encoding, head, whole)
    by_look = source.kind == "txt" and source.text_unit == "auto"
    if by_look and (doubt := doubtful_text(source, head)):
        return Content("", encoding, problem=("kind_doubtful", doubt))
    if source.kind in ("parquet", "arrow"):
        text = f"the file is no {source.kind} file: it begins with {head[:16]!r} and looks like "
        return Content("", encoding, problem=("damaged_file", text + looks_like(head)))
    if _ends_with_cr(head):
        plain = head.replace("\r\n", "\n").replace("\r", "\n")
        return Content(source.kind, encoding, plain, whole, cr_ends=True)
    document = source.kind == "txt" and is_document(source, head)
    return Content(source.kind, encoding, head, whole, document=document)


def _ends_with_cr(head: str) -> bool:
    """Whether the rows of a table end with CR: outside of quotes there is no LF."""
    if "\r" not in head.replace("\r\n", ""):
        return False
    return "\n" not in _QUOTED.sub("", head)


def _is_json(head: str, layout: str, *, whole: bool) -> bool:
    """Whether a table or a text is really JSON: its first records must decode."""
    data = head.encode()
    if layout == "jsonl":
        lines = data.split(b"\n")[:20]
        first = decode_block(Block(b"\n".join(lines[: max(1, len(lines) - (not whole))]), 1))
    else:
        first = next(iter(read_document([data])), Records((), ()))
    dicts = [value for value in first.values if isinstance(value, dict)]
    return bool(dicts) and len(dicts) >= len(first.values) * 0.9


def _spots(path: Path) -> list[bytes]:
    """Samples from all over a long file, cut to whole lines; all of it if it is not long."""
    size = path.stat().st_size
    samples: list[bytes] = []
    with path.open("rb") as file:
        file.seek(HEAD)
        if size <= _SPOT * _SPOTS:
            return [file.read()]
        for i in range(1, _SPOTS):
            file.seek(HEAD + (size - HEAD) * i // _SPOTS)
            sample = file.read(_SPOT)
            samples.append(sample[sample.find(b"\n") + 1 : sample.rfind(b"\n") + 1])
    return samples


def _read(content: Content, utf8: Utf8Stream) -> Iterator[Block | Records]:
    if content.kind == "jsonl":
        return cut_blocks(utf8)
    if content.kind == "json":
        return read_document(utf8)
    if content.kind == "txt":
        return read_plain(utf8, document=content.document)
    return read_delimited(utf8, sniff_dialect(content.head, content.kind, whole=content.whole))


def _notes(source: Source, content: Content) -> Iterator[tuple[str, str]]:
    """What is said about the file as a whole before its records."""
    if content.encoding.bom:
        yield "bom", f"a byte order mark ({content.encoding.name}) was left out"
    if content.encoding.name != "utf-8":
        yield "encoding", f"the text is in {content.encoding.name}; {_odd_lines(content)}"
    if content.kind in _JSON and content.kind != source.kind:
        one_object = content.kind == "json" and content.head.lstrip("\0 \t\r\n")[:1] == "{"
        if source.kind not in _JSON:
            yield "json_content", f"the .{source.kind} file holds JSON; it was read as such"
        elif content.kind == "jsonl":
            if kind_of_name(source.path.name):  # without a suffix the name says nothing wrong
                yield "json_lines", "the .json file holds JSON Lines: one record per line"
        elif not one_object:
            yield "json_document", "the .jsonl file holds one JSON list, not a record per line"
    if content.kind in ("csv", "tsv"):
        evidence = sniff_dialect(content.head, content.kind, whole=content.whole).evidence
        if evidence:
            yield "delimiter", evidence


def _odd_lines(content: Content) -> str:
    """Which lines show the encoding, so that a person can check one: a few may be stray bytes."""
    if content.encoding.wide:
        return "it was read as such"
    lines = content.head.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    odd = [number for number, line in enumerate(lines, 1) if not line.isascii()]
    if not odd:
        return "it was read as such"
    listed = ", ".join(map(str, odd[:5])) + (", ..." if len(odd) > 5 else "")
    count = f"{len(odd):,}{'' if content.whole else ' or more'} of its lines"
    return f"it was read as such, which decides {count}: {listed}"


def unreadable_file(source: Source, error: OSError) -> DataError:
    """A file that cannot be opened or read, as an error of the user's world."""
    return DataError(
        f"{source.name} cannot be read.",
        why=error.strerror or str(error),
        fix="check that the file exists, that you may read it, and that its disk is healthy",
    )
