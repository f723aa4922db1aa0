"""Datasets by the names that LLaMA-Factory's users give them: entries of a `dataset_info.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.disk.paths import at_home
from fine_tuning.hubs.sites import on_modelscope

NAME = "dataset_info.json"
# A dataset_dir that is none: names are those of a hub (llamafactory/data/parser.py).
ONLINE = "ONLINE"
# The key of a hub -> the hub, and what makes names mean its datasets.
HUBS = {
    "hf_hub_url": ("Hugging Face", "leave USE_MODELSCOPE_HUB unset"),
    "ms_hub_url": ("ModelScope", "set USE_MODELSCOPE_HUB=1"),
}
# LLaMA-Factory's name -> the flag that takes the files behind it.
FLAGS = {"dataset": "dataset_path", "eval_dataset": "val_dataset_path"}
# What an entry says of a hub's dataset -> the flag that says it here.
OF_HUB = {"subset": "dataset_config", "split": "dataset_split"}
# What an entry can ask of the engine that is not done here (llamafactory/data/parser.py).
NOT_DONE = ("num_samples", "folder")


class NotRegistered(ValueError):
    """A name that leads to no data: why, in words that end a sentence."""


@dataclass(frozen=True)
class Datasets:
    """The data behind names: files or names on a hub, what else their entries say by the flags
    that say it here, and what is not heeded, in words."""

    paths: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def datasets_of(names: Sequence[str], folder: Path) -> Datasets:
    """What these entries of `folder/dataset_info.json` lead to; of `ONLINE`, hub datasets.

    What an entry of a file says of its columns is read with the file (recognise/mapping.py in
    dataset/); what one of a hub's dataset says must hold for all of them. Raises NotRegistered.
    """
    if str(folder) == ONLINE:
        return Datasets(tuple(names))
    info = at_home(folder) / NAME
    if not info.is_file():
        raise NotRegistered(f"there is no {info} that says where its rows are")
    try:
        entries = json.loads(info.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotRegistered(f"{info} cannot be read ({error})") from None
    if not isinstance(entries, dict):
        raise NotRegistered(f"{info} holds no entries")
    paths = tuple(_path(name, entries, info) for name in names)
    ignored = [
        f"{key}: {entries[name][key]} of the entry {name!r} of {info}"
        for name in names
        for key in NOT_DONE
        if entries[name].get(key)
    ]
    return Datasets(paths, _settings(names, entries), tuple(ignored))


def _settings(names: Sequence[str], entries: Mapping[str, Any]) -> dict[str, Any]:
    """What the entries of hub datasets say, which flags say for all data at once."""
    from fine_tuning.dataset.recognise.mapping import (
        mapped,  # reads nothing but takes 0.1 s to import
    )

    said: dict[str, dict[str, Any]] = {}
    for name in names:
        if entries[name].get("file_name"):
            continue
        said[name] = {
            flag: str(entries[name][k]) for k, flag in OF_HUB.items() if entries[name].get(k)
        }
        if columns := dict(mapped(name, entries[name]).columns):
            said[name]["columns"] = columns
    first = next(iter(said.values()), {})
    alone = len(said) == len(names)
    if all(own == first for own in said.values()) and (alone or "columns" not in first):
        return first
    name = next(name for name, own in said.items() if own)
    raise NotRegistered(
        f"what the entry {name!r} says of subset, split or columns would hold for "
        f"{', '.join(repr(other) for other in names if other != name)} too: fetch it with "
        f"`download --dataset_path {_path(name, entries, Path(NAME))} --output_dir DIR`"
    )


def _path(name: str, entries: Mapping[str, Any], info: Path) -> str:
    entry = entries.get(name)
    if not isinstance(entry, dict):
        raise NotRegistered(f"{info} has no entry {name!r}")
    if file := entry.get("file_name"):
        path = info.parent / str(file)
        if not path.exists():
            raise NotRegistered(f"{name!r} is {path} by {info}, and there is no such file")
        return str(path)
    wanted = "ms_hub_url" if on_modelscope() else "hf_hub_url"
    if entry.get(wanted):
        return str(entry[wanted])
    for key, (hub, way) in HUBS.items():
        if entry.get(key):
            raise NotRegistered(f"{name!r} is a dataset of {hub} by {info} ({way})")
    raise NotRegistered(f"the entry {name!r} of {info} names neither a file nor a dataset of a hub")
