"""Which encoding a file is in, decided by strict decoding, and the file as UTF-8 bytes."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

# Looked at in this order of languages; each must decode the whole sample without an error.
LEGACY = ("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "koi8_r")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
# Marks bytes that mean nothing; its UTF-8 form is invalid, so the row that holds it is refused.
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
_MARK = "\udcff"


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of a file; `name` is empty if none decodes it cleanly."""

    name: str
    bom: bytes = b""

    @property
    def wide(self) -> bool:
        """Whether a character takes at least two bytes."""
        return self.name in _WIDE


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return _MARK, error.end
    raise error


codecs.register_error("mark-undecodable", _mark)


def decide_encoding(head: bytes, spots: Iterable[bytes] = ()) -> Encoding:
    """The encoding of a file from its first bytes and further samples (cut after newlines).

    UTF-8 if everything decodes, or if more of the non-ASCII lines do than do not (those rows are
    then refused one by one); else the one legacy encoding that decodes and reads like a language;
    if there is none, UTF-8 again if most lines are clean.
    """
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name, bom)
    if wide := _wide_without_bom(head):
        return Encoding(wide)
    sample = b"".join([head, *spots])
    if sample.isascii() or _is_utf8(sample):
        return Encoding("utf-8")
    lines = [line for line in re.split(rb"[\r\n]+", sample) if line]
    odd = [line for line in lines if not line.isascii()]
    bad = [line for line in odd if not _is_utf8(line)]
    # Eight such bytes in a row are no accident: two encodings in one file, not a third one.
    sure = sum(len(re.findall(rb"[\x80-\xff]", line)) >= 8 for line in odd if _is_utf8(line))
    if len(bad) * 2 < len(odd) or sure * 10 >= len(odd):
        return Encoding("utf-8")
    legacy = _legacy(b"\n".join(odd)[: 1 << 18])
    return Encoding("utf-8" if not legacy and len(bad) * 2 < len(lines) else legacy)


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _wide_without_bom(head: bytes) -> str:
    """UTF-16 and UTF-32 betray themselves by NUL bytes at every second or fourth place."""
    sample = head[:4096]
    if len(sample) < 4 or b"\0" not in sample or _is_utf8_with_nul(sample):
        return ""
    for name, width in _WIDE.items():
        zero = {"le": range(1, width), "be": range(width - 1)}[name[-2:]]
        low = sample[0 if name.endswith("le") else width - 1 :: width]
        shares = [sample[i::width].count(0) * width / len(sample) for i in zero]
        if min(shares) < (0.9 if width == 4 else 0.05):
            continue
        if low.count(0) / len(low) > min(shares) / 2:  # a low byte may be 0, as in U+4E00
            continue
        try:
            text = codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        # Binary data also has NUL bytes; text has words, lines and punctuation.
        if sum(map(str.isprintable, text)) + text.count("\n") * 2 >= len(text) * 0.95:
            return name
    return ""


def _is_utf8_with_nul(sample: bytes) -> bool:
    """Whether NUL bytes stand in UTF-8 text: most pairs hold none, and without them it decodes.

    UTF-16 text has a NUL in each Latin character, and its others are no UTF-8.
    """
    pairs = [sample[at : at + 2] for at in range(0, len(sample) - 1, 2)]
    full = sum(0 not in pair for pair in pairs)
    rest = sample.replace(b"\0", b"")
    return full >= 6 and _is_utf8(rest) and not _CONTROL.search(rest)


def _legacy(sample: bytes) -> str:
    whole = re.sub(rb"[\x80-\xff]{1,3}\Z", b"", sample) or sample
    if _is_simplified_chinese(sample):
        return "gb18030"
    if _is_western(sample):
        return "cp1252"
    best = from_bytes(whole, cp_isolation=list(LEGACY)).best()
    if best is None or best.encoding not in LEGACY:
        return ""
    return best.encoding


def _is_western(sample: bytes) -> bool:
    """Nearly every non-ASCII byte stands alone among ASCII letters, and all are in cp1252.

    So do accents and typographic quotes; other scripts write words of such bytes.
    """
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    if _CONTROL.search(sample):
        return False
    runs = re.findall(rb"[\x80-\xff]+", sample)
    return sum(len(run) == 1 for run in runs) >= 0.9 * len(runs)


def _is_simplified_chinese(sample: bytes) -> bool:
    """Nearly all characters are the 3755 commonest of GB 2312, in the order of pinyin.

    A statistical guess fails on short texts. Korean in EUC-KR uses the same bytes, but only up to
    C8; Big5 and Shift JIS have second bytes below A1.
    """
    try:
        sample.decode("gb18030")
    except UnicodeDecodeError as error:
        if error.end < len(sample):
            return False
    pairs = re.findall(rb"[\x81-\xfe][\x30-\xfe]", sample)
    common = [pair[0] for pair in pairs if 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1]
    punctuation = sum(0xA1 <= pair[0] <= 0xA3 and pair[1] >= 0xA1 for pair in pairs)
    if len(common) + punctuation < len(pairs) * 0.9:
        return False
    return len([lead for lead in common if lead > 0xC8]) >= max(1, len(common) * 0.1)


class Utf8Stream:
    """Chunks of any encoding as UTF-8 without BOM; with `newlines`, CR and CRLF become LF.

    Afterwards `lines` is the number of physical lines and `cr` says whether CRs were replaced.
    Bytes that mean nothing in a legacy encoding become bytes that are invalid UTF-8, so that the
    rows that hold them are named.
    """

    def __init__(self, chunks: Iterable[bytes], encoding: Encoding, *, newlines: bool) -> None:
        self.lines = 0
        self.cr = False
        self._chunks = chunks
        self._encoding = encoding
        self._newlines = newlines
        self._last = b"\n"

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._without_bom()
        if self._encoding.name != "utf-8":
            chunks = self._transcoded(chunks)
        for chunk in self._lf(chunks) if self._newlines else chunks:
            self.lines += chunk.count(b"\n")
            self._last = chunk[-1:]
            yield chunk
        self.lines += self._last != b"\n"

    def _without_bom(self) -> Iterator[bytes]:
        left = len(self._encoding.bom)
        for chunk in self._chunks:
            skipped = min(left, len(chunk))
            left -= skipped
            if len(chunk) > skipped:
                yield chunk[skipped:]

    def _transcoded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self._encoding.name)("mark-undecodable")
        for chunk in chunks:
            if text := decoder.decode(chunk):
                yield text.encode("utf-8", "surrogatepass")
        if text := decoder.decode(b"", True):
            yield text.encode("utf-8", "surrogatepass")

    def _lf(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        held = b""
        for chunk in chunks:
            chunk = held + chunk
            held = b"\r" if chunk.endswith(b"\r") else b""
            chunk = chunk[: len(chunk) - len(held)]
            if b"\r" in chunk:
                self.cr = True
                chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if chunk:
                yield chunk
        if held:
            self.cr = True
            yield b"\n"
