"""Reads canonical rows and their origins, from JSON Lines or (with media) typed parquet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

Ends = npt.NDArray[np.intp]
ORIGIN = np.dtype([("file", "<u4"), ("line", "<u8")])


class Turn(msgspec.Struct, gc=False):
    """One message of a canonical row."""

    role: str = msgspec.field(name="from")
    value: str


class Row(msgspec.Struct, gc=False):
    """A canonical row, of any kind; media are the paths of their files."""

    conversations: list[Turn]
    system: str | None = ""
    tools: str | None = ""
    chosen: Turn | None = None
    rejected: Turn | None = None
    label: bool | None = None
    images: list[str] | None = None
    videos: list[str] | None = None
    audios: list[str] | None = None

    @property
    def media(self) -> list[str]:
        """The files of images, videos and audios: rows with others are other rows."""
        return [*(self.images or ()), *(self.videos or ()), *(self.audios or ())]

    @property
    def is_text(self) -> bool:
        """Text for continued pretraining: one turn with the text and an empty answer."""
        turns = self.conversations
        return len(turns) == 2 and not turns[1].value and self.chosen is None


BLOCK = 1 << 17  # bytes of rows that are looked at together: they fit a processor's cache
_decoder = msgspec.json.Decoder(Row)
decode_row, decode_rows = _decoder.decode, _decoder.decode_lines


def is_parquet(path: Path) -> bool:
    """Whether these rows lie in typed parquet, as rows with media do."""
    return path.suffix == ".parquet"


def read_lines(path: Path) -> Iterator[bytes]:
    """The rows as JSON, one by one, without the end of line, in constant memory."""
    if not is_parquet(path):
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
        return
    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=1000):
            for record in batch.to_pylist():
                yield msgspec.json.encode(record)


def sampled_lines(path: Path, count: int | None) -> Iterator[bytes]:
    """About so many rows as JSON, from all over the file; None: all.

    Of JSON Lines no others are read, so that long rows come more often.
    """
    if count is None:
        yield from read_lines(path)
    elif is_parquet(path):
        stride = -(-parquet.read_metadata(path).num_rows // max(1, count))
        yield from islice(read_lines(path), 0, None, max(1, stride))
    else:
        size = path.stat().st_size
        with path.open("rb") as file:
            for number in range(count):
                file.seek(size * number // count)
                file.readline()
                if line := file.readline():
                    yield line.rstrip(b"\n")


def read_blocks(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """The rows as lines of JSON, in blocks of whole lines: `size` bytes and the rest of a line."""
    if not is_parquet(path):
        with path.open("rb") as file:
            while block := file.read(size):
                yield block if block.endswith(b"\n") else block + file.readline()
        return
    waiting = bytearray()
    for line in read_lines(path):
        waiting += line + b"\n"
        if len(waiting) >= size:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def line_ends(block: bytes) -> Ends:
    """Where the lines of a block end, behind their line ends."""
    return np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1


@dataclass(frozen=True)
class Origins:
    """Where each row stood in the user's files: 12 bytes a row, mapped from disk."""

    files: Sequence[str]
    table: npt.NDArray[np.void]

    def __len__(self) -> int:
        return len(self.table)

    def of(self, row: int) -> tuple[str, int]:
        """The file and the 1-based line of a row."""
        entry = self.table[row]
        return self.files[int(entry["file"])], int(entry["line"])

    def place(self, row: int) -> str:
        """The same as text; in a file of one line the index among the kept rows says where, which
        is also the number that `--show` takes."""
        file, line = self.of(row)
        in_line = f" (kept row index {row})" if line == 1 and row else ""
        return f"{file}:{line}{in_line}"


def read_origins(path: Path, files: Sequence[str]) -> Origins:
    """Opens an origins file (little-endian uint32 file, uint64 line for each row)."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return Origins(files, np.empty(0, ORIGIN))
    return Origins(files, np.memmap(path, ORIGIN, mode="r"))
