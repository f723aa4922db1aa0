"""One JSON value: strictly first, then with the repairs that have only one meaning, each named.

A value that nests deeper than MAX_DEPTH is refused, so that no later step can run out of stack.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.units import bytes_text
from fine_tuning.values.data import UNREADABLE, Severity, WrittenNumber

MAX_DEPTH = 100
_TOO_DEEP = (
    f"lists and objects nest deeper than {MAX_DEPTH} levels; no training row looks like this"
)
# A longer record is no training row (War and Peace has 3 MB). A record takes many times its size
# while it is read and looked at: with this limit the memory stays below 1 GB.
MAX_RECORD = 32_000_000

# A text that is never closed matches up to the end: tried again from each escaped quote in it, a
# record that was cut off inside a long text would take hours.
_TEXT = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_TOKEN = re.compile(_TEXT + r"|[\[{]+|[\]}]+", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_TEXT})|,(?=\s*[}}\]])", re.DOTALL)
_COMMA_AT_END = re.compile(r",\s*[}\]]")
_SPACED_COLON = re.compile(rb'"\s+:')
# JSON's integers have no such zero, and an answer may be one.
_MINUS_ZERO = re.compile(rb"[\s:,\[]-0[\s,\]}]")
_NUMBERS = re.compile(rb"\[[-+.,\deE\s]*\]")
_MANY_NUMBERS = 4096  # bytes; an embedding is longer
_TOO_MANY = -(1 << 60)
_SPACES = " \t\r\n"
_QUOTED_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """What was wrong with one record."""

    code: str
    message: str
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record's value (or UNREADABLE, then exactly one finding is an error)."""

    value: Any
    findings: tuple[Finding, ...] = ()


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(code, message, "error")


def _float(text: str) -> float:
    """A number; one that Python would write otherwise keeps its text, which may be an answer."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        _refuse_number(text)
    return value if repr(value) == text else WrittenNumber(text)


_STRICT = msgspec.json.Decoder(float_hook=_float)
_PLAIN = msgspec.json.Decoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def strict_value(raw: bytes) -> Any:
    """The value of a record that is right in every respect, else UNREADABLE: the fast path."""
    if b"-0" in raw and _MINUS_ZERO.search(raw):
        return UNREADABLE
    try:
        if len(raw) > _MANY_NUMBERS and raw[:1] == b"{" and raw.count(b".") > 200:
            # Lists of numbers (embeddings), which nothing reads as text, are decoded without
            # asking how each was written: that takes ten times as long.
            value = {
                key: (_PLAIN if _NUMBERS.fullmatch(part) else _STRICT).decode(part)
                for key, part in _MEMBERS.decode(raw).items()
            }
        else:
            value = _STRICT.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError, _RefusedError):
        return UNREADABLE
    return UNREADABLE if may_repeat_keys(raw, value) else value


def decode_record(raw: bytes, line: int = 1) -> Decoded:
    """The value of one record that starts on physical line `line`."""
    value = strict_value(raw)
    return _decode_leniently(raw, line) if value is UNREADABLE else Decoded(value)


def unreadable(code: str, message: str) -> Decoded:
    """A record that could not be read, and why."""
    return Decoded(UNREADABLE, (Finding(code, message, "error"),))


def too_long(size: int) -> Decoded:
    """A record of more than MAX_RECORD bytes."""
    limit = bytes_text(MAX_RECORD)
    return unreadable("record_too_long", f"it has {bytes_text(size)}; the limit is {limit}")


def may_repeat_keys(raw: bytes, value: Any) -> bool:
    """Whether an object in `raw` may name a key twice; False is certain, True is to be looked at.

    Each key stands before a colon: if there are no more `":` than keys in the decoded value, and
    no space before any colon, then no key was lost in decoding. Also True for a value that nests
    deeper than MAX_DEPTH.
    """
    keys = count_keys(value)
    return keys < 0 or raw.count(b'":') != keys or _SPACED_COLON.search(raw) is not None


def count_keys(value: Any, levels: int = MAX_DEPTH) -> int:
    """How many keys all objects in a decoded value have together; below 0 beyond `levels`."""
    if type(value) is dict:
        count = len(value)
        items: Iterable[Any] = value.values()
    elif type(value) is list:
        count, items = 0, value
    else:
        return 0
    if levels == 0:
        return _TOO_MANY
    for item in items:
        if type(item) is dict or type(item) is list:
            count += count_keys(item, levels - 1)
    return count


def depth_of(text: str) -> int:
    """How deep objects and lists nest in JSON text, without decoding it."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        run = token[0]
        if run[0] in "[{":
            depth += len(run)
            deepest = max(deepest, depth)
        elif run[0] in "]}":
            depth -= len(run)
    return deepest


def _decode_leniently(raw: bytes, line: int) -> Decoded:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = line + raw.count(b"\n", 0, error.start)
        bad = raw[error.start : error.start + 1].hex()
        return unreadable(
            "undecodable",
            f"byte 0x{bad} on line {where} is not valid in this file's encoding; save the file as"
            " UTF-8, or mend this row",
        )
    findings: list[Finding] = []
    stripped = text.strip("\0 \t\r\n\ufeff")
    if len(stripped) != len(text.strip(_SPACES)):
        left_out = "NUL bytes or a BOM around the record were left out"
        findings.append(Finding("nul_stripped", left_out))
    if "\0" in stripped:
        return unreadable("nul", "a NUL byte stands inside the record; the file may be damaged")
    if stripped.count("[") + stripped.count("{") > MAX_DEPTH and depth_of(stripped) > MAX_DEPTH:
        return unreadable("too_deep", _TOO_DEEP)
    try:
        value = _with_repairs(stripped, line, findings)
    except _RefusedError as refused:
        return Decoded(UNREADABLE, (refused.finding,))
    except RecursionError:
        return unreadable("too_deep", _TOO_DEEP)
    if "\\u" in stripped and _has_lone_surrogate(value):
        return unreadable(
            "lone_surrogate",
            "half of a surrogate pair (such as \\ud83d alone) is no character and cannot be"
            " written; the text was cut in the middle of one",
        )
    return Decoded(value, tuple({finding.code: finding for finding in findings}.values()))


def _with_repairs(text: str, line: int, findings: list[Finding]) -> Any:
    try:
        return _parse(text, findings)
    except json.JSONDecodeError as error:
        failure = error
    mended = text.rstrip(_SPACES + ",")
    if _COMMA_AT_END.search(mended):
        mended = _TRAILING_COMMA.sub(lambda match: match[1] or "", mended)
    if mended != text:
        try:
            value = _parse(mended, findings)
        except json.JSONDecodeError:
            pass
        else:
            findings.append(Finding("trailing_comma", "a trailing comma was left out"))
            return value
    raise _RefusedError("json_syntax", _syntax_message(text, failure, line))


def _parse(text: str, findings: list[Finding]) -> Any:
    """json.loads with what it tolerates written down; raises JSONDecodeError for the rest."""
    repeated: list[str] = []

    def no_number(name: str) -> None:
        findings.append(Finding("nan", f"{name} is not JSON; it was read as null"))

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) < len(items):
            repeated.extend(
                [key for key, count in Counter(key for key, _ in items).items() if count > 1]
            )
        return value

    def loads(strict: bool) -> Any:
        decoder = json.JSONDecoder(
            strict=strict,
            parse_constant=no_number,
            object_pairs_hook=pairs,
            parse_float=_float,
            parse_int=_int,
        )
        return decoder.decode(text)

    try:
        value = loads(strict=True)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            raise
        repeated.clear()
        value = loads(strict=False)
        said = "a raw line break, tab or control character stands in text"
        findings.append(Finding("control_character", said))
    if once := dict.fromkeys(repeated):
        keys = ", ".join(json.dumps(name[:_QUOTED_LIMIT], ensure_ascii=True) for name in once)
        said = f"key {keys} appears more than once; its last value is used"
        findings.append(Finding("duplicate_key", said))
    return value


def _int(text: str) -> int | float:
    if text == "-0":
        return WrittenNumber(text)
    try:
        return int(text)
    except ValueError:  # Python refuses more than 4300 digits
        _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise _RefusedError("number_range", f"the number {text[:20]}... is too large")


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _syntax_message(text: str, error: json.JSONDecodeError, line: int) -> str:
    where = f"line {line + error.lineno - 1}, column {error.colno}"
    if not text.lstrip("[{ \t\r\n").startswith("'"):
        # A few characters from here, and nothing of a secret that they may be part of.
        nearby = text[max(0, error.pos - 200) : error.pos + 200]
        found = text[error.pos : error.pos + 12] if masked(nearby) == nearby else "..."
        what = f"{error.msg[0].lower()}{error.msg[1:]}"
        return f"not valid JSON at {where}: {what}" + (
            f", found {json.dumps(found)}" if found else ", but the record ends there"
        )
    return (
        f"not valid JSON at {where}: single quotes; write the rows with json.dumps, not with"
        " print or str"
    )
