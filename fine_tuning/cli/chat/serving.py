"""`chat --port`: the models behind LLaMA-Factory's OpenAI-compatible API, on this machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fine_tuning.cli.listening import url_of, warning_of
from fine_tuning.escaping import visible

USUAL_PORT = 8000


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that has begun to answer; the command goes on until it is ended."""

    url: Annotated[str, "base URL, as OpenAI's clients take it"]
    models: Annotated[tuple[str, ...], "what `model` of a request can be"]


def served_at(host: str, port: int, names: Sequence[str]) -> Served:
    """What answers at this address."""
    return Served(url=f"{url_of(host, port)}/v1", models=tuple(names))


def instructions(served: Served, host: str, silent: Sequence[str]) -> list[str]:
    """How to call it, line by line."""
    name = served.models[0]
    ask = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    lines = [
        f"Serving {', '.join(served.models)} at {served.url}",
        f"  curl {served.url}/chat/completions -H 'Content-Type: application/json' \\",
        f"    -d '{ask}'",
        f'  OpenAI(base_url="{served.url}", api_key="none").chat.completions.create(',
        f'    model="{name}", messages=[{{"role": "user", "content": "Hello"}}])',
    ]
    if silent:
        lines.append(
            f"Calls of functions come as text from {', '.join(silent)}: no reader of "
            "LLaMA-Factory's knows how this chat template writes them."
        )
    if warning := warning_of(host):
        key = "with the key in API_KEY" if os.environ.get("API_KEY") else "there is no password"
        lines.append(f"{warning}: {key}.")
    return [visible(line) for line in [*lines, "Ctrl-C ends it."]]
