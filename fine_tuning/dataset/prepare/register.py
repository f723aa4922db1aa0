"""Tells LLaMA-Factory about prepared rows: entries of its `dataset_info.json`.

LLaMA-Factory resets every column and every tag that an entry does not name, and opens the file in
the locale's encoding (llamafactory/data/parser.py): so everything is named, in ASCII.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash
from filelock import FileLock, Timeout

from fine_tuning.disk import files
from fine_tuning.errors import DataError
from fine_tuning.values.tables.kinds import KINDS, Kind

DATASET_INFO = "dataset_info.json"
_LOCK_SECONDS = 30
# A tag that no canonical row uses (a system prompt stands in its own column), named all the same.
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
_COLUMNS = {  # LLaMA-Factory's name -> ours
    "messages": "conversations",
    "system": "system",
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "label",
}
_GLOB = re.compile(r"[*?\[\]]|::|://")

Entry = dict[str, Any]


def dataset_entry(kind: Kind, columns: frozenset[str], file_name: str) -> Entry:
    """The literal LLaMA-Factory entry for canonical rows with these columns.

    A column is named exactly if the rows have it: LLaMA-Factory reads a named column from every
    row. `file_name` is absolute, so that it holds from any `dataset_dir`. Raises DataError for a
    path that the `datasets` library would take for a pattern.
    """
    if missing := KINDS[kind].required - columns:
        raise ValueError(f"canonical {kind} rows without {', '.join(sorted(missing))}")
    refuse_patterns(file_name)
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "ranking": KINDS[kind].is_pair,
        "columns": {theirs: ours for theirs, ours in _COLUMNS.items() if ours in columns},
        "tags": dict(_TAGS),
    }


def refuse_patterns(path: str) -> None:
    """Raises DataError for a path that the `datasets` library would take for a pattern."""
    if _GLOB.search(path):
        raise DataError(
            f"The prepared rows cannot lie in {path}.",
            why="the datasets library reads *, ?, [ ], :: and :// in a path as a pattern",
            fix="choose an --output_dir without these characters",
        )


def entry_name(run_dir: Path, part: str) -> str:
    """A name for one file of a run: readable, ASCII, without commas, and another for every run.

    LLaMA-Factory splits its `dataset` argument at commas.
    """
    path = run_dir.resolve()
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-.")[:60] or "dataset"
    mark = xxhash.xxh3_64_hexdigest(str(path).encode("utf-8", "surrogateescape"))[:8]
    return f"{slug}-{mark}-{part}"


def write_dataset_info(path: Path, entries: Mapping[str, Entry]) -> None:
    """Writes a `dataset_info.json`: ASCII, and whole or not at all."""
    text = json.dumps(dict(entries), indent=2, ensure_ascii=True) + "\n"
    files.write_text(path, text, durable=True)


def register(dataset_dir: Path, entries: Mapping[str, Entry]) -> None:
    """Adds or replaces entries in `<dataset_dir>/dataset_info.json`, and keeps all others.

    Safe against other processes that register at the same time. Raises DataError if the file
    that is there cannot be read (it is left as it is, and a copy is kept) or stays locked.
    """
    path = dataset_dir / DATASET_INFO
    lock = dataset_dir / f"{DATASET_INFO}.lock"
    try:
        dataset_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=_LOCK_SECONDS):
            write_dataset_info(path, {**_read_entries(path), **entries})
    except Timeout:
        raise DataError(
            f"{path} is locked by another run.",
            why=f"it did not let go of {lock} within {_LOCK_SECONDS} seconds",
            fix="wait for that run, or choose another --dataset_dir",
        ) from None
    except OSError as error:
        raise DataError(
            f"The dataset cannot be registered in {path}.",
            why=str(error.strerror or error),
            fix="choose a --dataset_dir that you can write to",
        ) from error


def _read_entries(path: Path) -> dict[str, Entry]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig") or "{}")
    except ValueError as error:
        raise _corrupt(path, f"it is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise _corrupt(path, f"it holds a {type(entries).__name__}, not an object with entries")
    return entries


def _corrupt(path: Path, why: str) -> DataError:
    mark = xxhash.xxh3_64_hexdigest(path.read_bytes())[:8]
    copy = path.with_name(f"{path.name}.corrupt-{mark}")
    if not copy.exists():
        shutil.copy2(path, copy)
    return DataError(
        f"{path} cannot be read, so nothing was registered in it.",
        why=why,
        fix=f"mend it, or delete it and run again (a copy is kept in {copy.name})",
    )
