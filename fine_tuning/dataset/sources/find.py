"""Which files a dataset path means: a file, a directory, or a dataset on the Hub."""

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from fine_tuning.dataset.read.raw.content import columnar_kind
from fine_tuning.dataset.read.raw.encoding import decide_encoding
from fine_tuning.dataset.read.raw.stream import compression_of, head_of
from fine_tuning.dataset.sources.source import (
    SUFFIXES,
    Compression,
    FileKind,
    HubChoice,
    Source,
    is_data_name,
    kind_of_name,
)
from fine_tuning.dataset.sources.splits import with_splits
from fine_tuning.dataset.sources.words import explained, is_address
from fine_tuning.disk.paths import at_home, expanded, natural
from fine_tuning.errors import DataError
from fine_tuning.hubs.downloads import OnBytes, in_silence
from fine_tuning.units import counted

_HUB_ID = re.compile(r"(hf://datasets/)?[\w][\w.-]*/[\w][\w.-]*|hf://datasets/[\w.-]+")
_MAX_FILES = 100_000


class _PathError(Exception):
    """One path that means no data: what is wrong, and what to do."""


def find_sources(
    paths: Sequence[str],
    *,
    hub: HubChoice,
    flag: str = "dataset_path",
    on_bytes: OnBytes = in_silence,
    splits: bool = True,
    apart: Collection[str] = (),
    text_unit: str = "auto",
) -> list[Source]:
    """The files behind `paths`, in order. Every wrong path is named in one DataError.

    A directory gives its data files, recursively, in natural order of their names. With `splits`,
    files get the split that their names say, also where several were named one by one, but for
    those `apart`.
    """
    paths = [path for word in paths for path in expanded(word)]
    found: list[list[Source]] = []
    problems: list[str] = []
    for path in paths:
        try:
            found.append(_expand(path, splits=splits))
        except _PathError as error:
            problems.append(str(error))
    _refuse(problems, flag)
    # The network is asked only when every local path is right.
    local = [i for i, sources in enumerate(found) if sources and paths[i] not in apart]
    for i, path in enumerate(paths):
        found[i] = found[i] or _from_hub(path, hub, on_bytes)
    if splits and len(local) > 1:
        together = [source for i in local for source in found[i]]
        base = Path(os.path.commonpath([source.path.parent for source in together]))
        kept = {source.path: source for source in with_splits(together, base, named=True)}
        for i in local:
            found[i] = [kept[source.path] for source in found[i] if source.path in kept]
    sources = _unique([source for sources in found for source in sources])
    return [dataclasses.replace(source, text_unit=text_unit) for source in sources]


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
        other = first.get(source.path)
        if other is None:
            first[source.path] = source
        else:
            twice = ("path_twice", f"{source.name} was given more than once")
            if twice not in other.problems:
                first[source.path] = dataclasses.replace(other, problems=(*other.problems, twice))
    return list(first.values())


def _expand(name: str, *, splits: bool) -> list[Source]:
    """The local files behind a path; empty if it names a Hub dataset."""
    path = at_home(name)
    if name in ("-", "/dev/stdin", "/dev/fd/0"):
        raise _PathError(explained(name))
    try:
        if path.is_dir():
            return _directory(path, name, splits=splits)
        if path.exists():
            return [_file(path, name)]
    except OSError as error:
        raise _PathError(f"{name}: cannot be opened ({error.strerror})") from error
    if not is_address(name) and _names_hub_dataset(name):
        return []
    raise _PathError(explained(name) or _missing(path, name))


def _from_hub(name: str, hub: HubChoice, on_bytes: OnBytes) -> list[Source]:
    from fine_tuning.dataset.sources.hub import hub_files

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
    kind = _kind(path, compression)
    return Source(
        path=path.absolute(),
        name=_writable(name),
        kind=kind,
        compression=compression,
        size=size,
        guessed=kind == "txt" and kind_of_name(path.name) is None,
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


def _directory(path: Path, name: str, *, splits: bool) -> list[Source]:
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
    try:
        sources = with_splits(sources, path, named=False) if splits and sources else sources
    except ValueError as error:
        raise _PathError(
            f"{name}: every file here is named for a test or for validation ({error}); name the"
            f" files to train on, or add --ignore_splits"
        ) from None
    notes: list[str] = []
    sources += [_unusable(path / inner, str(Path(name) / inner), why) for inner, why in closed]
    if skipped:
        listed = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        were = counted(len(skipped), "other file was", "other files were")
        notes.append(f"{name}: {were} left out: {listed}")
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
        names = _without_caches(Path(folder), names)
        for entry in names:
            inner = str((Path(folder) / entry).relative_to(path))
            (files if is_data_name(entry) else skipped).append(inner)
        if len(files) > _MAX_FILES:
            raise _PathError(f"{name}: more than {_MAX_FILES} data files; join them first")
    return sorted(files, key=natural), sorted(skipped, key=natural), closed


def _without_caches(folder: Path, names: list[str]) -> list[str]:
    """The files of a folder without what `datasets` caches in one that it saved."""
    if "state.json" not in names:
        return names
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        own = {entry["filename"] for entry in state["_data_files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return names
    return [name for name in names if name in own or not name.endswith(".arrow")]


def _with_notes(sources: list[Source], notes: Sequence[str]) -> list[Source]:
    if not sources or not notes:
        return sources
    return [dataclasses.replace(sources[0], notes=tuple(notes)), *sources[1:]]
