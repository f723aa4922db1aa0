"""Which hub of models and datasets is asked, and whether one may be."""

import os
from pathlib import Path

_TRUE = ("1", "true", "yes", "on", "y")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def on_modelscope() -> bool:
    """Whether names mean ModelScope's repositories (LLaMA-Factory's own switch)."""
    return is_on("USE_MODELSCOPE_HUB")


def on_openmind() -> bool:
    """Whether names mean repositories of openMind, which only LLaMA-Factory speaks to."""
    return is_on("USE_OPENMIND_HUB")


def is_offline() -> bool:
    """Whether the user forbids asking a hub."""
    return any(map(is_on, OFFLINE))


def is_on(name: str) -> bool:
    """Whether an environment variable says yes, as the hubs' clients read it."""
    return os.environ.get(name, "").lower() in _TRUE


def endpoint() -> str | None:
    """The mirror that the user named, or None for the Hub itself."""
    return os.environ.get("HF_ENDPOINT") or None


def site() -> str:
    """The address of the hub that is asked."""
    if on_modelscope():
        return os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn"
    return endpoint() or "https://huggingface.co"


def home() -> Path:
    """Where Hugging Face's client keeps its token and, unless told otherwise, its downloads."""
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def cache() -> Path:
    """Where Hugging Face's client keeps what it downloads."""
    return Path(os.environ.get("HF_HUB_CACHE") or home() / "hub")
