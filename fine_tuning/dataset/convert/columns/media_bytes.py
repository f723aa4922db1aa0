"""Pictures, sounds and videos whose bytes stand in a row, written out as files.

The Hub's image sets hold `{"bytes": ..., "path": ...}`, requests to servers `data:` addresses; the
engine reads paths. A file is named by its content, so that the same one is written once.
"""

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path, PurePosixPath

from fine_tuning.dataset.convert.values import Notes, Unusable

_DATA = re.compile(r"data:[\w.+-]*(?:/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
# How a picture or sound in base64 begins that is not written as an address: PNG, JPEG, GIF, WebP
# or WAV, MP3.
_BARE = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "SUQz")
_SHORTEST = 64  # a path may begin with one of these
_SUFFIXES = (
    *((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp")),
    *((b"ID3", ".mp3"), (b"OggS", ".ogg"), (b"fLaC", ".flac"), (b"\x1aE\xdf\xa3", ".webm")),
)


def data_of_text(text: str) -> bytes | None:
    """The bytes that a `data:` address or a text in base64 holds; None for any other text."""
    match = _DATA.match(text)
    bare = match is None and len(text) >= _SHORTEST and text.startswith(_BARE)
    if match is None and not bare:
        return None
    try:
        return base64.b64decode(text[match.end() if match else 0 :], validate=True)
    except (binascii.Error, ValueError):
        if bare:
            return None
        raise Unusable("media_malformed", "a data: address holds no base64") from None


def saved(data: bytes, column: str, path: str, notes: Notes) -> str:
    """Writes the bytes to a file of their own, and gives its absolute path."""
    if notes.media_dir is None:
        raise Unusable("media_malformed", f"{column} holds bytes, and there is no place for files")
    if not data:
        raise Unusable("media_unreadable", f"{column} is empty")
    suffix = _suffix(data) or PurePosixPath(path).suffix.lower()[:8]
    if column == "images" and not _is_image(data):
        raise Unusable("media_unreadable", f"{column}: the {len(data):,} bytes are no image")
    name = hashlib.sha256(data).hexdigest()[:32] + suffix
    file = (notes.media_dir / name).absolute()
    if not file.exists() or file.stat().st_size != len(data):
        notes.media_dir.mkdir(parents=True, exist_ok=True)
        waiting = Path(f"{file}.{os.getpid()}.part")
        waiting.write_bytes(data)
        waiting.replace(file)
    return str(file)


def _suffix(data: bytes) -> str:
    if data[8:12] in (b"WEBP", b"WAVE"):
        return "." + data[8:12].decode("ascii").lower().replace("wave", "wav")
    if data[4:8] == b"ftyp":
        return ".mp4"
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "")


def _is_image(data: bytes) -> bool:
    from io import BytesIO

    from PIL import Image

    try:
        with Image.open(BytesIO(data)):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
