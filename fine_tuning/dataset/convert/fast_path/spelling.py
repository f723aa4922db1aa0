"""Texts as a JSON file spells them, and as canonical rows do (`canonical.encode_row`).

The two differ where the file has an escape that is not needed (`\\u00e9`, `\\/`); what lies between
the quotes is otherwise copied as it is. All of it must be valid JSON and valid UTF-8.
"""

import re

import msgspec
from msgspec import Raw

from fine_tuning.dataset.convert.values import BLANKS, is_blank

EMPTY, NULL, NO_LIST = Raw(b'""'), Raw(b"null"), Raw(b"[]")
QUOTE, SPACE = b'" '
# The first byte of a text that cannot be blank: one look-up clears nearly every text.
VISIBLE = frozenset(range(256)) - {*(char.encode()[0] for char in BLANKS), *b'\\"'}
_NEEDLESS = re.compile(rb"\\[u/]")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(str).decode


def has_needless_escapes(data: bytes) -> bool:
    """Whether `respelt` would change some text; True also for a backslash before a `u`."""
    return _NEEDLESS.search(data) is not None


def respelt(raw: Raw) -> bytes:
    """A text in the canonical spelling; any other value as it is."""
    written = bytes(raw)
    if written[0] != QUOTE or not _NEEDLESS.search(written):
        return written
    return _encode(_decode(written))


def text_of(written: bytes) -> str:
    """The text that a JSON string spells."""
    return _decode(written)


def is_visible(written: bytes) -> bool:
    """Whether a JSON value is a text in which something can be seen."""
    if written[0] != QUOTE:
        return False
    first = written[2] if written[1] == SPACE else written[1]
    return first in VISIBLE or not is_blank(_decode(written))


def is_utf8(data: bytes) -> bool:
    """Whether bytes are valid UTF-8, which decoding to `Raw` does not ask."""
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False
