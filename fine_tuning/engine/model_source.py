"""The base model before anything is loaded: a local directory that is whole, or a Hub name."""

import difflib
import json
from pathlib import Path

from fine_tuning.errors import ModelError
from fine_tuning.paths import at_home

WEIGHTS = ("*.safetensors", "*.bin")


def model_location(name: str) -> str:
    """An absolute path for a local directory, the name itself for a Hub model.

    Raises ModelError for a directory that is missing, or that lacks its configuration or weights.
    """
    path = at_home(name)
    if path.is_dir():
        _check_directory(path)
        return str(path.resolve())
    if path.exists():
        raise ModelError(
            f"{name} is a file, not a model directory.",
            fix="give the directory that holds config.json and the weights",
        )
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1:
        raise ModelError(
            f"There is no directory {name}.{_nearest(path)}",
            fix="check --model_name_or_path; a Hub name looks like Qwen/Qwen3-0.6B",
        )
    return name


def is_local(location: str) -> bool:
    """Whether `model_location` found a directory."""
    return Path(location).is_dir()


def _check_directory(path: Path) -> None:
    if not (path / "config.json").exists():
        if (path / "adapter_config.json").exists():
            raise ModelError(
                f"{path} is an adapter, not a base model.",
                fix="give its base model as --model_name_or_path and the adapter as "
                "--adapter_name_or_path",
            )
        raise ModelError(
            f"{path} has no config.json, so it is not a model directory.",
            fix="give the directory that holds config.json and the weights",
        )
    if not any(file for pattern in WEIGHTS for file in path.glob(pattern)):
        raise ModelError(
            f"{path} has no weights (neither *.safetensors nor *.bin).",
            why="the download is incomplete, or only the configuration was copied",
            fix="download the whole model again",
        )
    missing = [name for name in _listed_shards(path) if not (path / name).exists()]
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} of its weight files: {', '.join(missing[:3])}.",
            why="its index lists them; the download is incomplete",
            fix="download the whole model again",
        )


def _listed_shards(path: Path) -> list[str]:
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return []
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError) as error:
        raise ModelError(
            f"{index} cannot be read: {error}", fix="download the model again"
        ) from error


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    found = difflib.get_close_matches(path.name, names, n=3)
    return f" Nearest there: {', '.join(found)}." if found else ""
