"""What makes two rows, or their prompts, the same: 64-bit hashes, 24 bytes a row."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from fine_tuning.dataset.insight.rows import Row, decode_row, read_lines

Hashes = npt.NDArray[np.uint64]
_SEPARATOR = "\0"


@dataclass(frozen=True)
class RowKeys:
    """Per row: hash of the whole row, of its prompt, and of the row with the seed (its place)."""

    contents: Hashes
    prompts: Hashes
    places: Hashes

    def __len__(self) -> int:
        return len(self.contents)


def read_keys(path: Path, seed: int = 0) -> RowKeys:
    """The keys of every row in the file, in one pass."""
    contents, prompts, places = array("Q"), array("Q"), array("Q")
    seed %= 1 << 64
    for line in read_lines(path):
        contents.append(xxhash.xxh3_64_intdigest(line))
        row = decode_row(line)
        wherever = _anywhere(row) if row.media else line
        places.append(xxhash.xxh3_64_intdigest(wherever, seed=seed))
        prompt = prompt_of(row).encode("utf-8", "surrogatepass")
        prompts.append(xxhash.xxh3_64_intdigest(prompt))
    return RowKeys(*(np.frombuffer(hashes, np.uint64) for hashes in (contents, prompts, places)))


def _anywhere(row: Row) -> bytes:
    """A row with its media by their names alone: in another folder it is still the same row."""
    names = {
        kind: [Path(path).name for path in paths]
        for kind in ("images", "videos", "audios")
        if (paths := getattr(row, kind))
    }
    return msgspec.json.encode(msgspec.structs.replace(row, **names))


def prompt_of(row: Row) -> str:
    """Everything before the last answer: system prompt, turns and media; of text, all of it."""
    turns = row.conversations if row.chosen is not None else row.conversations[:-1]
    return _SEPARATOR.join([row.system or "", *(turn.value for turn in turns), *row.media])
