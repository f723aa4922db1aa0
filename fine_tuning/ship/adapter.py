"""An adapter's directory: of which base model it is, and the chat template that it brings."""

import json
from pathlib import Path

from fine_tuning import hashes
from fine_tuning.errors import ModelError


def require_adapter(path: Path) -> None:
    """Raise ModelError for a directory that does not hold an adapter of PEFT, DataError for one
    that is not what was trained."""
    if not path.is_dir():
        raise ModelError(f"There is no directory {path}.", fix="give the directory of an adapter")
    if not (path / "adapter_config.json").is_file() or not any(path.glob("adapter_model.*")):
        raise ModelError(
            f"{path} holds no adapter (adapter_config.json and adapter_model.safetensors).",
            fix="give the directory that a training with --method lora left",
        )
    hashes.require_unchanged(path, "copy the adapter again from where it was trained")


def base_of(path: Path) -> str | None:
    """The base model that the adapter was trained on, by the name or path of that time.

    Raises ModelError for a configuration that cannot be read.
    """
    file = path / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        named = config.get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{file} cannot be read: {error}", fix="copy the adapter again, or train it again"
        ) from error
    return named if isinstance(named, str) and named else None


def chat_template_of(path: Path) -> str | None:
    """The chat template that lies beside the adapter: the one that was trained."""
    file = path / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else None
