"""The part of a model that takes pictures or sounds, as llama.cpp keeps it: a file of its own."""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.errors import EngineError
from fine_tuning.ship.llama_cpp.serve import ask, serving

# Of a model's config.json: what it takes, and llama.cpp's word for that (/props of its server).
SENSES: Mapping[str, tuple[str, str]] = {
    "vision_config": ("pictures", "vision"),
    "audio_config": ("sounds", "audio"),
}
SIDE = 112  # pixels of the picture that is shown
CONTEXT = 2048  # tokens


def senses_of(model: Path) -> Mapping[str, str]:
    """What the model takes beside text, and llama.cpp's words for it; empty: nothing."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return dict(what for name, what in SENSES.items() if config.get(name))


def require_tensors(projector: Path) -> int:
    """How many the file has. Raises EngineError for one that is empty: the converter writes such of
    names that it does not know, without a word."""
    from gguf import GGUFReader

    count = len(GGUFReader(projector).tensors)
    if not count:
        raise EngineError("llama.cpp's converter finds none of its tensors by their names.")
    return count


def require_seeing(file: Path, projector: Path, senses: Mapping[str, str], log: Path) -> None:
    """Open both with llama.cpp, and show a picture if it takes any. Raises EngineError where one of
    the senses is not there, or the picture is not in the prompt."""
    with serving(file, log, context=CONTEXT, projector=projector) as url:
        found = ask(url, "/props").get("modalities") or {}
        missing = [what for what, word in senses.items() if not found.get(word)]
        if missing:
            raise EngineError(f"llama.cpp does not take {' and '.join(missing)} with it.")
        if "pictures" in senses and _tokens(url, picture=True) <= _tokens(url, picture=False):
            raise EngineError("llama.cpp makes no tokens of a picture with it.")


def _tokens(url: str, *, picture: bool) -> int:
    """The number of tokens of a prompt with a picture, or without."""
    shown: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}]
    if picture:
        encoded = base64.b64encode(_gradient()).decode()
        image = {"url": f"data:image/png;base64,{encoded}"}
        shown.insert(0, {"type": "image_url", "image_url": image})
    body = {"messages": [{"role": "user", "content": shown}], "max_tokens": 1}
    return int(ask(url, "/v1/chat/completions", body)["usage"]["prompt_tokens"])


def _gradient() -> bytes:
    """A picture in colours, as PNG (its specification, 5: a length, a name and a sum each)."""
    rows = b"".join(
        b"\0" + bytes(it for x in range(SIDE) for it in (2 * x, 2 * y, x + y)) for y in range(SIDE)
    )
    head = SIDE.to_bytes(4) * 2 + bytes((8, 2, 0, 0, 0))
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(it).to_bytes(4) + name + it + zlib.crc32(name + it).to_bytes(4) for name, it in parts
    )
