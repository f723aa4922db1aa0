"""Where llm-compressor is: named by the user, or set up here."""

import os
from collections.abc import Mapping
from pathlib import Path

from fine_tuning.disk.resources import tool_command, tool_home
from fine_tuning.errors import EnvironmentProblem

VARIABLE = "LLM_COMPRESSOR_DIR"
SET_UP = ("llm-compressor", "fine_tuning.ship.llm_compressor")
# What was tested together, beside this program's own environment (torch, accelerate, ...).
PINNED: Mapping[str, str] = {
    "llmcompressor": "0.12.0.2",
    "compressed-tensors": "0.17.1",
    "transformers": "5.9.0",
    "datasets": "4.8.4",
    "loguru": "0.7.3",
    "nvidia-ml-py": "13.580.82",
}


def home() -> Path:
    """Where the set-up puts it."""
    return tool_home("llm-compressor")


def is_there(place: Path) -> bool:
    """Whether the folder has all of it."""
    return all((place / name).is_dir() for name in ("llmcompressor", "transformers", "datasets"))


def find(given: Path | None) -> Path:
    """The folder that goes before all others on the path of its process: `given`
    (--llm_compressor), LLM_COMPRESSOR_DIR, or the set-up's own.

    Raises EnvironmentProblem if it is not there: it names the command that gets it.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    places = [home()] if named is None else [named]
    found = next(filter(is_there, places), None)
    if found is None:
        wanted = " ".join(f"{name}=={version}" for name, version in PINNED.items())
        raise EnvironmentProblem(
            "llm-compressor, which --export_quantization needs, is not here.",
            why=f"it was looked for in {places[0]}",
            fix=f"`{tool_command(*SET_UP)}` gets it (120 MB, beside this environment and not in "
            "it); or give with --llm_compressor the folder of "
            f"`pip install --no-deps --target FOLDER {wanted}`",
        )
    return found
