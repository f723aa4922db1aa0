"""Single values of a row: text, numbers that stand for text, lists written as JSON text."""

import ast
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeGuard

import msgspec

from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.dataset.recognise.asking.unread import Unread
from fine_tuning.values.data import WrittenNumber

# Control, format and filler characters: a text of nothing else shows nothing.
_INVISIBLE = (
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160)),
    *((0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)),
    *((0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0)),
    *((0xFFF9, 0xFFFB), (0xE0000, 0xE01EF)),
)
BLANKS = frozenset(
    (
        *(chr(code) for first, last in _INVISIBLE for code in range(first, last + 1)),
        *(chr(code) for code in range(0x3001) if chr(code).isspace()),
    )
)
_BLANKS = "".join(BLANKS)
UNANSWERED = "unanswered"  # the code of a row that is a prompt alone
_PRINTED = 1_000_000  # characters of a list as Python prints it: its parser takes much memory
_MASKED = 4096  # no message shows more


class Unusable(Exception):
    """This row cannot be used, for a named reason; the converter's caller drops it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Tags:
    """Other names for the keys and roles of messages, as a `dataset_info.json` gives them."""

    keys: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)

    def ours(self, message: Any) -> Any:
        """A message with our keys and our role."""
        if not isinstance(message, dict) or not (self.keys or self.roles):
            return message
        named = {self.keys.get(key, key): value for key, value in message.items()}
        role = named.get("role")
        return {**named, "role": self.roles.get(role, role)} if isinstance(role, str) else named


@dataclass
class Notes:
    """What a converter has to say besides the row: warnings of this row, and repairs that are
    counted for the whole file (role names, labels, columns) instead of being said for each row."""

    media_root: Path = field(default_factory=Path)
    media_dir: Path | None = None  # where files are written whose bytes stand in the rows
    tags: Tags = Tags()
    allow_unanswered: bool = False  # a row may be a prompt without an answer
    warnings: list[tuple[str, str]] = field(default_factory=list)
    renamed: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    untrained: Counter[str] = field(default_factory=Counter)
    unread: Unread = field(default_factory=Unread)

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))

    def lacks_answer(self, code: str, message: str) -> None:
        """Raise Unusable for a row without an answer, or note that it is a prompt alone."""
        if not self.allow_unanswered:
            raise Unusable(code, message)
        self.warn(UNANSWERED, message.partition("; ")[0])


def shown(value: Any, limit: int = 40) -> str:
    """A value in a message: JSON, cut."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError, UnicodeError):
        text = ascii(value)
    text = masked(text[:_MASKED])  # before the cut: half of a key is no longer known as one
    return text if len(text) <= limit else text[: limit - 3] + "..."


def type_name(value: Any) -> str:
    """The name of a value's type as JSON calls it."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "an object", type(None): "null", WrittenNumber: "a number"}
    return names.get(type(value), type(value).__name__)


def are_texts(value: Any) -> TypeGuard[Sequence[str]]:
    """Whether a value is a list of texts, which is not empty."""
    listed = isinstance(value, (list, tuple)) and len(value) > 0
    return listed and all(isinstance(text, str) for text in value)


def as_text(value: Any, what: str, code: str, notes: Notes) -> str:
    """The text of a value; null is empty, a number is its text as it was written, bytes (of a
    columnar file) are UTF-8; anything else is refused."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        if value != value or value in (math.inf, -math.inf):  # how pandas writes that there is none
            notes.warn("nan", f"{what} is {value}; read as null")
            return ""
        written = value.text if isinstance(value, WrittenNumber) else f"{value}"
        notes.warn("number_as_text", f"{what} is the number {written}; read as text")
        return written
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise Unusable(code, f"{what} is bytes that are no UTF-8; expected text") from error
        notes.warn("bytes_as_text", f"{what} is bytes; read as UTF-8 text")
        return text
    raise Unusable(code, f"{what} is {type_name(value)} ({shown(value)}); expected text")


def as_list(value: Any, what: str, notes: Notes) -> Any:
    """A list, also where the file (a CSV cell, a parquet column) holds it as JSON text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            parsed = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return _python_list(value, what, notes)
        notes.warn("json_text", f"{what} is JSON text; read as a list")
        return parsed
    return value


def _python_list(text: str, what: str, notes: Notes) -> Any:
    """A list or object as Python prints it (pandas writes such cells), or the text itself."""
    if len(text) > _PRINTED or not text.rstrip().endswith(("]", "}")):
        return text
    try:
        parsed = ast.literal_eval(text.strip())  # literals only: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    notes.warn("json_text", f"{what} is a list as Python prints it; read as one")
    return parsed


def as_messages(value: Any, what: str, notes: Notes) -> Any:
    """A list of messages, also as JSON text, as one message, or inside {"messages": ...}; other
    text stays text, whatever it holds."""
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return value["messages"]
        return [value] if {"role", "from"} & value.keys() else value
    if not isinstance(value, str) or value.lstrip()[:1] != "[":
        return value
    try:
        parsed = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value
    if parsed and all(isinstance(m, dict) and ("role" in m or "from" in m) for m in parsed):
        notes.warn("json_text", f"{what} is JSON text; read as a list of messages")
        return parsed
    return value


def is_blank(text: str) -> bool:
    """Whether nothing that can be seen is there: white space, zero-width and control characters."""
    return not text or text.isspace() or (text[0] in BLANKS and not text.strip(_BLANKS))


def blankness(text: str) -> str:
    """How a blank text is blank, in words."""
    if not text or text.isspace():
        return "blank"
    hidden = next(char for char in text if not char.isspace())
    return f"blank: it holds only invisible characters (U+{ord(hidden):04X})"
