"""Datasets by the names that LLaMA-Factory's users give them: entries of a `dataset_info.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.paths import at_home

NAME = "dataset_info.json"
HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url")
# LLaMA-Factory's name -> the flag that takes the files behind it.
FLAGS = {"dataset": "dataset_path", "eval_dataset": "val_dataset_path"}


class NotRegistered(ValueError):
    """A name that leads to no data: why, in words that end a sentence."""


def paths_of(names: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The files, or the names on a hub, of these entries of `folder/dataset_info.json`.

    What an entry says of columns is read with the file (dataset/mapping.py). Raises NotRegistered.
    """
    info = at_home(folder) / NAME
    if not info.is_file():
        raise NotRegistered(f"there is no {info} that says where its rows are")
    try:
        entries = json.loads(info.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise NotRegistered(f"{info} cannot be read ({error})") from None
    if not isinstance(entries, dict):
        raise NotRegistered(f"{info} holds no entries")
    return tuple(_path(name, entries, info) for name in names)


def _path(name: str, entries: Mapping[str, Any], info: Path) -> str:
    entry = entries.get(name)
    if not isinstance(entry, dict):
        raise NotRegistered(f"{info} has no entry {name!r}")
    if file := entry.get("file_name"):
        path = info.parent / str(file)
        if not path.exists():
            raise NotRegistered(f"{name!r} is {path} by {info}, and there is no such file")
        return str(path)
    if hub := next((entry[key] for key in HUBS if entry.get(key)), None):
        return str(hub)
    raise NotRegistered(f"the entry {name!r} of {info} names neither a file nor a dataset of a hub")
