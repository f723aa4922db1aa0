"""The files that a dataset consists of: what is to be read, and as what."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

FileKind = Literal["json", "jsonl", "csv", "tsv", "parquet", "arrow", "txt"]
Compression = Literal["", "gz", "zst"]
Split = Literal["train", "validation"]

SUFFIXES: dict[str, FileKind] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "txt",
    ".md": "txt",
    ".markdown": "txt",
}
# Files that accompany a dataset without being part of it.
_NOT_DATA = re.compile(
    r"(dataset_infos?|dataset_dict|state|metadata|config|croissant|package|tsconfig)\.json"
    r"|(readme|license|licence|notice|requirements|citation|changelog)(\..*)?|.*\.(md|markdown)",
    re.IGNORECASE,
)
PACKED_SUFFIXES: dict[str, Compression] = {
    ".gz": "gz",
    ".gzip": "gz",
    ".zst": "zst",
    ".zstd": "zst",
}


@dataclass(frozen=True, kw_only=True)
class HubChoice:
    """Which part of a Hub dataset is meant; None: its default configuration, the train split."""

    config: str | None = None
    split: str | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file to read.

    `name` is the file as the user named it, for messages and reports; `size` is in bytes on disk.
    `notes` says what was noticed on the way to it (neighbours that were left out, the
    configuration of a Hub dataset); only the first source of a directory or dataset carries them.
    `problems` are (code, message) of what was decided on the way. `text_unit` is what one text of a
    file of plain text is; `guessed` says that only its content tells its kind.
    `unusable` says why a file of a directory cannot be opened; it must not be touched.
    """

    path: Path
    name: str
    kind: FileKind
    compression: Compression = ""
    split: Split = "train"
    size: int = 0
    notes: tuple[str, ...] = ()
    unusable: str = ""
    problems: tuple[tuple[str, str], ...] = ()
    text_unit: str = "auto"
    guessed: bool = False


def kind_of_name(name: str) -> FileKind | None:
    """The kind that a file name promises (`a.json.gz`: json), or None."""
    path = Path(name.lower())
    if path.suffix in PACKED_SUFFIXES:
        path = path.with_suffix("")
    return SUFFIXES.get(path.suffix)


def is_data_name(file: str) -> bool:
    """Whether a file of a folder, by its name alone, is data: not hidden, no README or description.

    A page of Markdown is data only where it is named itself.
    """
    name = PurePosixPath(file).name
    known = kind_of_name(name) is not None and not name.startswith(".")
    return known and not _NOT_DATA.fullmatch(name)
