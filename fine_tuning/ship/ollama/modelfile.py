"""A Modelfile: what Ollama makes a model of (docs/modelfile.mdx and parser/parser.go of Ollama)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_CONTEXT = 32768  # tokens: the memory for a context is taken when the model is loaded
# Ollama's own words for what Transformers' generation_config.json says (docs/modelfile.md).
PARAMETERS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}


def modelfile(
    sources: Sequence[str],
    model: Path,
    *,
    stops: Sequence[str],
    system: str | None,
    license: str,
    template: str | None = None,
) -> str:
    """The Modelfile of `sources`, which were made of the model's directory or are it. Without
    `template` (Ollama's own kind) the chat template in the file renders the prompts."""
    config, generation = (_json(model / f"{name}.json") for name in ("config", "generation_config"))
    config = {**config, **(config.get("text_config") or {})}
    context = min(int(config.get("max_position_embeddings") or MOST_CONTEXT), MOST_CONTEXT)
    given = {
        "num_ctx": context,
        "repeat_penalty": 1.0,  # Ollama's own default is not that of training
        **{ours: generation[name] for name, ours in PARAMETERS.items() if name in generation},
    }
    lines = [f"FROM {_quoted(it) if ' ' in it else it}" for it in sources]
    if template is not None:
        lines.append(f'TEMPLATE """{template}"""')
    lines += [f"PARAMETER {name} {value}" for name, value in given.items()]
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    if system:
        lines.append(f"SYSTEM {_quoted(system)}")
    if license:
        lines.append(f"LICENSE {_quoted(license)}")
    return "\n".join(lines) + "\n"


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except FileNotFoundError:
        return {}


def _quoted(text: str) -> str:
    """Ollama's parser has no escapes: three quotes end a text of several lines."""
    text = text.replace('"""', "'''")
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'
