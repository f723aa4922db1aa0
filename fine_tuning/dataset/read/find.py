"""Which files a dataset path means: a file, a directory, or a dataset on the Hub."""

import dataclasses
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import cast

from fine_tuning.dataset.read.raw.content import columnar_kind
from fine_tuning.dataset.read.raw.encoding import decide_encoding
from fine_tuning.dataset.read.raw.stream import compression_of, head_of
from fine_tuning.dataset.read.sources import (
    SUFFIXES,
    Compression,
    FileKind,
    HubChoice,
    Source,
    kind_of_name,
)
from fine_tuning.errors import DataError
from fine_tuning.hubs import OnBytes, in_silence
from fine_tuning.paths import at_home

_HUB_ID = re.compile(r"(hf://datasets/)?[\w][\w.-]*/[\w][\w.-]*|hf://datasets/[\w.-]+")
# Files that accompany a dataset without being part of it.
_NOT_DATA = re.compile(
    r"(dataset_infos?|dataset_dict|state|metadata|config|croissant|package|tsconfig)\.json"
    r"|(readme|license|licence|notice|requirements|citation|changelog)(\..*)?",
    re.IGNORECASE,
)
_TRAIN = re.compile(r"(^|[^a-z])(train|training)([^a-z]|$)")
_VALIDATION = re.compile(r"(^|[^a-z])(validation|valid|val|dev|eval)([^a-z]|$)")
_TEST = re.compile(r"(^|[^a-z])(test|testing)([^a-z]|$)")
_MAX_FILES = 100_000


class _PathError(Exception):
    """One path that means no data: what is wrong, and what to do."""


def find_sources(
    paths: Sequence[str],
    *,
    hub: HubChoice,
    flag: str = "dataset_path",
    on_bytes: OnBytes = in_silence,
) -> list[Source]:
    """The files behind `paths`, in order. Every wrong path is named in one DataError.

    A directory gives its data files, recursively, in natural order of their names; if train and
    validation files lie side by side, each gets its split.
    """
    found: list[list[Source]] = []
    problems: list[str] = []
    for path in paths:
        try:
            found.append(_expand(path))
        except _PathError as error:
            problems.append(str(error))
    _refuse(problems, flag)
    # The network is asked only when every local path is right.
    for i, path in enumerate(paths):
        found[i] = found[i] or _from_hub(path, hub, on_bytes)
    return _unique([source for sources in found for source in sources])


def refuse_missing(paths: Sequence[str], flag: str = "dataset_path") -> None:
    """Raises DataError for paths that lead nowhere; nothing is read, and no hub is asked."""
    gone = [path for path in paths if not os.path.lexists(at_home(path))]
    _refuse([_missing(at_home(name), name) for name in gone if not _names_hub_dataset(name)], flag)


def _refuse(problems: Sequence[str], flag: str) -> None:
    if problems:
        raise DataError(
            "\n".join(problems),
            fix=f"give --{flag} files, a directory with data files, or a Hub dataset id",
        )


def _unique(sources: list[Source]) -> list[Source]:
    """Each file once, though it may be named twice (as itself and by its directory)."""
    first: dict[Path, Source] = {}
    for source in sources:
        first.setdefault(source.path, source)
    return list(first.values())


def _expand(name: str) -> list[Source]:
    """The local files behind a path; empty if it names a Hub dataset."""
    path = at_home(name)
    try:
        if path.is_dir():
            return _directory(path, name)
        if path.exists():
            return [_file(path, name)]
    except OSError as error:
        raise _PathError(f"{name}: cannot be opened ({error.strerror})") from error
    if _names_hub_dataset(name):
        return []
    raise _PathError(_missing(path, name))


def _from_hub(name: str, hub: HubChoice, on_bytes: OnBytes) -> list[Source]:
    from fine_tuning.dataset.read.hub import hub_files

    files, notes = hub_files(name.removeprefix("hf://datasets/"), hub, on_bytes)
    sources = [
        dataclasses.replace(_file(file.path, f"{name}/{file.name}"), split=file.split)
        for file in files
    ]
    return _with_notes(sources, notes)


def _names_hub_dataset(name: str) -> bool:
    """`owner/name`, unless it has a data file's suffix or `owner` is a folder here."""
    if name.startswith("hf://datasets/"):
        return _HUB_ID.fullmatch(name) is not None
    if not _HUB_ID.fullmatch(name) or kind_of_name(name):
        return False
    return not Path(name).parent.is_dir()


def _missing(path: Path, name: str) -> str:
    if not name.strip():
        return "an empty path was given"
    if path.is_symlink():
        return f"{name}: a link to {path.readlink()}, which leads to no file"
    parent = path.parent
    if not parent.is_dir():
        return f"{name}: there is no such file; the directory {parent} does not exist either"
    try:
        neighbours = sorted(entry.name for entry in parent.iterdir())
    except OSError:
        neighbours = []
    nearest = difflib.get_close_matches(path.name, neighbours, n=3, cutoff=0.5)
    nearest += [n for n in neighbours if Path(n).stem == path.stem and n not in nearest]
    if nearest:
        return f"{name}: there is no such file; did you mean {', '.join(nearest)}?"
    data = [entry for entry in neighbours if kind_of_name(entry)][:5]
    there = f"; data files there: {', '.join(data)}" if data else ""
    return f"{name}: there is no such file in {parent.absolute()}{there}"


def _file(path: Path, name: str) -> Source:
    try:
        if path.is_symlink() and not path.exists():
            raise _PathError(f"{name}: a link to {path.readlink()}, which leads to no file")
        if not path.is_file():
            raise _PathError(f"{name}: this is no regular file (a device, pipe or socket)")
        with path.open("rb") as file:
            head = file.read(1 << 12)
        size = path.stat().st_size
    except OSError as error:
        raise _PathError(f"{name}: cannot be read ({error.strerror or error})") from error
    compression = cast(Compression, compression_of(head))
    return Source(
        path=path.absolute(),
        name=_writable(name),
        kind=_kind(path, compression),
        compression=compression,
        size=size,
    )


def _writable(name: str) -> str:
    """A name for reports: a file unpacked from a GBK archive has one that is no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _kind(path: Path, compression: str) -> FileKind:
    """By suffix; without a known one, by content."""
    if kind := kind_of_name(path.name):
        return kind
    data = head_of(path, compression, 1 << 16)
    if columnar := columnar_kind(data):
        return cast(FileKind, columnar)
    encoding = decide_encoding(data).name or "latin-1"
    text = data.decode(encoding, "replace").lstrip("\ufeff\0 \t\r\n")
    if text[:1] in ("{", "["):
        return "json"
    first = text.split("\n", 1)[0]
    if "\t" in first:
        return "tsv"
    return "csv" if re.fullmatch(r"\s*\w+\s*([,;|]\s*\w+\s*)+", first) else "txt"


def _directory(path: Path, name: str) -> list[Source]:
    files, skipped, closed = _walk(path, name)
    if not files and not closed:
        found = f"; it holds {', '.join(skipped[:5])}" if skipped else "; it is empty"
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        wanted = " ".join(SUFFIXES)
        raise _PathError(f"{name}: no data file in this directory{found}{more} (wanted: {wanted})")
    sources: list[Source] = []
    for inner in files:
        try:
            sources.append(_file(path / inner, str(Path(name) / inner)))
        except _PathError as error:
            sources.append(_unusable(path / inner, str(Path(name) / inner), str(error)))
    if all(source.unusable for source in sources) and not closed:
        raise _PathError("\n".join(source.unusable for source in sources))
    sources, notes = _with_splits(sources)
    sources += [_unusable(path / inner, str(Path(name) / inner), why) for inner, why in closed]
    if skipped:
        listed = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        notes.append(f"{name}: {len(skipped)} other files were left out: {listed}")
    return _with_notes(sources, notes)


def _unusable(path: Path, name: str, why: str) -> Source:
    """A file of a directory that cannot be opened: the others are read, and this one is named."""
    kind = kind_of_name(path.name) or "jsonl"
    return Source(path=path.absolute(), name=_writable(name), kind=kind, unusable=_writable(why))


def _walk(path: Path, name: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Data files and other files below a directory, as relative paths in natural order, and the
    folders that cannot be listed, each with the reason."""
    files: list[str] = []
    skipped: list[str] = []
    closed: list[tuple[str, str]] = []

    def refuse(error: OSError) -> None:
        if Path(error.filename) == path:
            raise _PathError(f"{name}: the directory cannot be listed ({error.strerror})")
        inner = str(Path(error.filename).relative_to(path))
        closed.append(
            (inner, f"{Path(name) / inner}: the directory cannot be listed ({error.strerror})")
        )

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        linked = [entry for entry in folders if (Path(folder) / entry).is_symlink()]
        skipped += [f"{(Path(folder) / entry).relative_to(path)}/ (a link)" for entry in linked]
        for entry in names:
            inner = str((Path(folder) / entry).relative_to(path))
            (files if is_data_name(entry) else skipped).append(inner)
        if len(files) > _MAX_FILES:
            raise _PathError(f"{name}: more than {_MAX_FILES} data files; join them first")
    return sorted(files, key=_natural), sorted(skipped, key=_natural), closed


def is_data_name(file: str) -> bool:
    """Whether a file, by its name alone, is data: not hidden, not a README or a description."""
    name = PurePosixPath(file).name
    known = kind_of_name(name) is not None and not name.startswith(".")
    return known and not _NOT_DATA.fullmatch(name)


def _natural(name: str) -> list[tuple[int, str]]:
    """part-2 before part-10."""
    return [(int(p), "") if p.isdecimal() else (0, p) for p in re.split(r"(\d{1,18})", name)]


def _with_splits(sources: list[Source]) -> tuple[list[Source], list[str]]:
    """Splits by file name, where a folder has files named for training and for validation.

    A test file beside them is not read: rows meant for a last test must not be trained on.
    """
    kept: list[Source] = []
    notes: list[str] = []
    for folder in dict.fromkeys(source.path.parent for source in sources):
        files = [source for source in sources if source.path.parent == folder]
        roles = [split_of_name(source.path.name) for source in files]
        for source, role in zip(files, roles, strict=True):
            if role == "test" and "train" in roles:
                notes.append(
                    f"{source.name} was left out: a test split beside train files"
                    " (--val_dataset_path uses it for validation)"
                )
            elif role == "validation" and "train" in roles:
                kept.append(dataclasses.replace(source, split="validation"))
                notes.append(f"{source.name} is the validation split, by its name")
            else:
                kept.append(source)
    return kept, notes


def split_of_name(name: str) -> str:
    """`train`, `validation` or `test` as a file or split name says it, or nothing."""
    stem = name.lower()
    for role, pattern in (("test", _TEST), ("validation", _VALIDATION), ("train", _TRAIN)):
        if pattern.search(stem):
            return role
    return ""


def _with_notes(sources: list[Source], notes: Sequence[str]) -> list[Source]:
    if not sources or not notes:
        return sources
    return [dataclasses.replace(sources[0], notes=tuple(notes)), *sources[1:]]
