"""The base model before anything is loaded: a local directory that is whole, or a Hub name."""

import difflib
import json
from pathlib import Path

from fine_tuning.disk.paths import at_home
from fine_tuning.errors import ModelError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
WEIGHTS = ("*.safetensors", "*.bin")
# model_type in config.json -> why the installed engine cannot train such a model
UNTRAINABLE = {
    "gpt_oss": "LLaMA-Factory loads its kernels by `load_and_register_kernel`, which the installed "
    "Transformers does not have (llamafactory/model/model_utils/attention.py)",
}


def model_location(name: str) -> str:
    """An absolute path for a local directory, the name itself for a Hub model.

    Raises ModelError for a directory that is missing, or that lacks its configuration or weights.
    """
    path = at_home(name)
    if path.is_dir():
        require_whole_model(path)
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


def require_whole_model(path: Path) -> None:
    """Raise ModelError for a directory that lacks its configuration, or whole weights."""
    if not (path / "config.json").exists():
        if (path / "adapter_config.json").exists():
            raise ModelError(
                f"{path} is an adapter, not a base model.",
                fix="give its base model as --model_name_or_path and the adapter as "
                "--adapter_name_or_path",
            )
        if any(path.glob("*.gguf")):
            raise ModelError(
                f"{path} holds a GGUF model, which cannot be trained.",
                why="GGUF is the format of llama.cpp, made from a model of Transformers",
                fix="give the model that it was made from (config.json and *.safetensors)",
            )
        raise ModelError(
            f"{path} has no config.json, so it is not a model directory.",
            fix="give the directory that holds config.json and the weights",
        )
    _refuse_kind(path)
    weights = sorted(file for pattern in WEIGHTS for file in path.glob(pattern))
    if not weights:
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
    for file in weights:
        _require_whole(file)


def refuse_untrainable(model_type: str) -> None:
    """Raise ModelError for a kind of model that the installed engine cannot train."""
    if model_type in UNTRAINABLE:
        raise ModelError(
            f"Models of the kind '{model_type}' cannot be trained with the installed versions.",
            why=UNTRAINABLE[model_type],
            fix="take another base model",
        )


def _refuse_kind(path: Path) -> None:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{path / 'config.json'} cannot be read: {error}", fix="download the model again"
        ) from error
    if isinstance(config, dict):
        refuse_untrainable(str(config.get("model_type")))


def _require_whole(file: Path) -> None:
    """Raise ModelError for a file of weights that is a mere pointer, or that was cut off.

    A safetensors file says at its start how long it is: 8 bytes with the length of a JSON header,
    the header with the place of each tensor, the tensors (the format's README).
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if start + opened.read(len(_LFS_POINTER) - 8) == _LFS_POINTER:
            raise ModelError(
                f"{file} is a Git LFS pointer, not the weights.",
                why="the repository was cloned without Git LFS",
                fix="run `git lfs install && git lfs pull` there, or download the model again",
            )
        if file.suffix != ".safetensors":
            return
        length = int.from_bytes(start, "little")
        opened.seek(8)
        header = opened.read(length) if length < size else b""
    try:
        tensors = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in tensors.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        ends = []
    needed = 8 + length + max(ends, default=0)
    if not ends or size < needed:
        was = f" ({size:,} of {needed:,} bytes)" if ends else ""
        raise ModelError(
            f"{file} is damaged or incomplete{was}.",
            why="downloads that broke off look like this",
            fix="delete the file and download the model again",
        )


def _listed_shards(path: Path) -> list[str]:
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return []
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index} cannot be read: {error}", fix="download the model again"
        ) from error


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    found = difflib.get_close_matches(path.name, names, n=3)
    return f" Nearest there: {', '.join(found)}." if found else ""
