"""Which files of a Hub dataset make up a configuration and its splits.

As the Hub's own viewer resolves it: the `configs` of the dataset card's front matter if there are
any, else the names of files and folders.
"""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fine_tuning.dataset.sources.source import HubChoice, Split, is_data_name
from fine_tuning.dataset.sources.splits import split_of_name
from fine_tuning.errors import DataError


@dataclass(frozen=True, slots=True)
class Chosen:
    """The files to download, each with the split it belongs to, and what to tell the user."""

    files: tuple[tuple[str, Split], ...]
    notes: tuple[str, ...]


def choose_files(
    name: str, files: Sequence[str], card: Mapping[str, Any], choice: HubChoice
) -> Chosen:
    """The files of the chosen configuration and split; DataError names what there is instead."""
    configs = _configs(files, card)
    config = _config(name, configs, card, choice.config)
    splits = configs[config]
    notes: list[str] = []
    if len(configs) > 1:
        notes.append(f'{name}: configuration "{config}" of {_listed(configs)}')
    if choice.split is not None:
        if choice.split not in splits:
            raise _unknown(name, "split", choice.split, list(splits), "--dataset_split")
        return Chosen(_labelled(splits[choice.split], "train"), tuple(notes))
    train = next((split for split in splits if split_of_name(split) == "train"), None)
    if train is None and len(splits) > 1:
        raise DataError(
            f"{name} has no train split.",
            why=f"its splits are {_listed(splits)}",
            fix="choose one with --dataset_split",
        )
    if train is None:
        (train,) = splits
        notes.append(f'{name}: its only split is "{train}"; its rows are for training')
    chosen = list(_labelled(splits[train], "train"))
    others = [split for split in splits if split != train]
    for split in others:
        if split_of_name(split) == "validation":
            chosen.extend(_labelled(splits[split], "validation"))
            notes.append(f'{name}: split "{split}" is the validation split')
            others = [other for other in others if other != split]
    if others:
        notes.append(f"{name}: left out: {_listed(others)} (choose with --dataset_split)")
    return Chosen(tuple(chosen), tuple(notes))


def _labelled(files: Sequence[str], split: Split) -> tuple[tuple[str, Split], ...]:
    return tuple((file, split) for file in files)


def _configs(files: Sequence[str], card: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> files."""
    data = [file for file in files if is_data_name(file)]
    found: dict[str, dict[str, list[str]]] = {}
    for entry in _entries(card):
        folder = str(entry.get("data_dir") or "")
        inside = [file for file in data if file.startswith(folder)]
        wanted = entry.get("data_files")
        splits = _by_patterns(inside, folder, wanted) if wanted else _by_names(inside)
        if splits:
            found[str(entry.get("config_name") or "default")] = splits
    if found:
        return found
    return {"default": splits} if (splits := _by_names(data)) else {}


def _entries(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = card.get("configs")
    return [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []


def _by_patterns(files: Sequence[str], folder: str, wanted: Any) -> dict[str, list[str]]:
    items = wanted if isinstance(wanted, list) else [wanted]
    splits: dict[str, list[str]] = {}
    for item in items:
        split, paths = ("train", item)
        if isinstance(item, Mapping):
            split, paths = str(item.get("split", "train")), item.get("path", "")
        for pattern in paths if isinstance(paths, list) else [paths]:
            full = str(PurePosixPath(folder) / str(pattern).removeprefix("./"))
            matched = [
                file for file in files if fnmatch.fnmatchcase(file, full.replace("**/", "*"))
            ]
            splits.setdefault(split, []).extend(sorted(set(matched) - set(splits.get(split, []))))
    return {split: paths for split, paths in splits.items() if paths}


def _by_names(files: Sequence[str]) -> dict[str, list[str]]:
    """`data/train-00000-of-00002.parquet`, `train/0000.parquet`; the rest is train."""
    splits: dict[str, list[str]] = {}
    for file in sorted(files):
        path = PurePosixPath(file)
        names = (path.name, *reversed(path.parts[:-1]))
        role = next((role for part in names if (role := split_of_name(part))), "train")
        splits.setdefault(role, []).append(file)
    return splits


def _config(
    name: str, configs: Mapping[str, Any], card: Mapping[str, Any], wanted: str | None
) -> str:
    if not configs:
        raise DataError(
            f"{name} holds no data file that can be read.",
            why="neither its files nor its parquet conversion are json, csv, parquet, arrow or txt",
            fix="download it and convert it to one of these (scripts of datasets are never run)",
        )
    if wanted is not None:
        if wanted not in configs:
            raise _unknown(name, "configuration", wanted, list(configs), "--dataset_config")
        return wanted
    for entry in _entries(card):
        if entry.get("default") is True and entry.get("config_name") in configs:
            return str(entry["config_name"])
    if "default" in configs or len(configs) == 1:
        return "default" if "default" in configs else next(iter(configs))
    raise DataError(
        f"{name} has several configurations: {_listed(configs)}.",
        why="none of them is marked as its default",
        fix="choose one with --dataset_config",
    )


def _unknown(name: str, what: str, wanted: str, known: list[str], flag: str) -> DataError:
    nearest = difflib.get_close_matches(wanted, known, n=len(known), cutoff=0.4)
    ordered = [*nearest, *(k for k in known if k not in nearest)]
    return DataError(
        f'{name} has no {what} "{wanted}".',
        why=f"it has {_listed(ordered)}",
        fix=f"give one of these with {flag}",
    )


def _listed(names: Any) -> str:
    shown = [f'"{name}"' for name in names]
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more
