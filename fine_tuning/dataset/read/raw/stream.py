"""A file's content in chunks, unpacked while it is read and hashed on the way.

Damaged archives give what comes before the damage; `ByteStream.cut` then says why it ended.
"""

import contextlib
import hashlib
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

CHUNK = 1 << 21
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte from 50 to 5f; pzstd begins with such a frame
ZSTD_SKIPPABLE_FIRST = tuple(bytes([byte]) for byte in range(0x50, 0x60))
_GZIP_PIECE = 1 << 16
# One zstd block of a few bytes can stand for 128 KiB: small pieces keep an archive bomb bounded.
_ZSTD_PIECE = 1 << 11


class CutShortError(Exception):
    """The archive is damaged from here on; what came before it was good."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` (included) to `end` (excluded) of an uncompressed file, cut after newlines."""

    start: int
    end: int


def compression_of(head: bytes) -> str:
    """`gz`, `zst` or nothing, by magic bytes: a suffix may be wrong or missing."""
    if head.startswith(GZIP_MAGIC):
        return "gz"
    skippable = head[1:4] == ZSTD_SKIPPABLE and head[:1] in ZSTD_SKIPPABLE_FIRST
    return "zst" if skippable or head.startswith(ZSTD_MAGIC) else ""


class ByteStream:
    """The unpacked bytes of one file (or of a range of it), in chunks of about 2 MiB.

    `sha256` is that of the bytes on disk that were read; it covers the whole file after `drain`.
    """

    def __init__(self, path: Path, compression: str, part: ByteRange | None = None) -> None:
        self.cut = ""
        self.done = 0  # bytes on disk that were read
        self._path = path
        self._compression = compression
        self._part = part
        self._hash = hashlib.sha256()
        self._pieces: Iterator[bytes] = iter(())

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb", buffering=0) as file:
            self._pieces = self._read(file)
            try:
                yield from unpacked(self._pieces, self._compression)
            except CutShortError as error:
                self.cut = str(error)
            self.drain()

    def drain(self) -> None:
        """Hash what nobody reads (after damage, or of a file that is not used)."""
        for _ in self._pieces:
            pass

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        left = -1
        if self._part is not None:
            file.seek(self._part.start)
            left = self._part.end - self._part.start
        with ThreadPoolExecutor(1) as hashing:  # its thread starts with the first whole chunk
            waiting: Future[None] | None = None
            while left and (chunk := file.read(CHUNK if left < 0 else min(CHUNK, left))):
                left -= len(chunk) if left > 0 else 0
                self.done += len(chunk)
                if waiting is not None:
                    waiting.result()
                    waiting = None
                if len(chunk) == CHUNK:
                    waiting = hashing.submit(self._hash.update, chunk)
                else:
                    self._hash.update(chunk)
                yield chunk


def unpacked(pieces: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The unpacked content of `pieces`; raises CutShortError where an archive is damaged."""
    if compression == "gz":
        return _gunzip(pieces)
    return _unzstd(pieces) if compression == "zst" else pieces


def head_of(path: Path, compression: str, size: int) -> bytes:
    """The first `size` unpacked bytes (fewer if the file is short or damaged)."""
    parts: list[bytes] = []
    with path.open("rb", buffering=0) as file:
        pieces = iter(lambda: file.read(min(size, CHUNK)), b"")
        try:
            for part in unpacked(pieces, compression):
                parts.append(part)
                if sum(map(len, parts)) >= size:
                    break
        except CutShortError:
            pass
    return b"".join(parts)[:size]


def sha256_of(path: Path) -> str:
    """The sha256 of a whole file, for readers that jump about in it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=31)
    opened = False
    for piece in _cut(pieces, _GZIP_PIECE):
        while piece:
            before = engine.copy()
            try:
                out = engine.decompress(piece, CHUNK)
            except zlib.error as error:
                yield _before_damage(before, piece)
                raise CutShortError(f"the gzip archive is damaged ({error})") from error
            opened = True
            if out:
                yield out
            piece = engine.unconsumed_tail
            if engine.eof:
                # Several members in a row are one file; zero padding after them is allowed.
                piece = engine.unused_data.lstrip(b"\0")
                engine, opened = zlib.decompressobj(wbits=31), False
    if opened:
        raise CutShortError("the gzip archive ends early (an interrupted download or copy?)")


# The call that meets the damage loses its output: give the same bytes again, one by one.
def _before_damage(engine: "zlib._Decompress", piece: bytes) -> bytes:
    parts: list[bytes] = []
    with contextlib.suppress(zlib.error):
        for i in range(len(piece)):
            parts.append(engine.decompress(piece[i : i + 1]))
    return b"".join(parts)


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    engine = unpacker.decompressobj(write_size=1 << 17)
    opened = False
    for piece in _cut(pieces, _ZSTD_PIECE):
        while piece:
            try:
                out = engine.decompress(piece)
            except zstandard.ZstdError as error:
                raise CutShortError(f"the zstd archive is damaged ({error})") from error
            opened = True
            if out:
                yield out
            piece = b""
            if engine.eof:
                piece = engine.unused_data
                engine, opened = unpacker.decompressobj(write_size=1 << 17), False
    if opened:
        raise CutShortError("the zstd archive ends early (an interrupted download or copy?)")


def _cut(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        yield from (piece[i : i + size] for i in range(0, len(piece), size))
