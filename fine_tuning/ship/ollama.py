"""A Modelfile, and the model that Ollama makes of it: by Ollama's own program and HTTP API."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.errors import EngineError, EnvironmentProblem
from fine_tuning.ship.conversations import Chat

PORT = 11434
MOST_CONTEXT = 32768  # tokens: the memory for a context is taken when the model is loaded
# Ollama's own words for what Transformers' generation_config.json says (docs/modelfile.md).
PARAMETERS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
# In a Modelfile these take the place of the chat template in the GGUF file.
SUBSTITUTES = ("TEMPLATE", "RENDERER", "PARSER")
NO_TEMPLATE = "{{ .Prompt }}"  # what Ollama shows where a model has none
LOAD_S = 600


def modelfile(
    file: str, model: Path, *, stops: Sequence[str], system: str | None, license: str
) -> str:
    """The Modelfile of a GGUF file that was made of the model's directory; TEMPLATE is left out, so
    that the chat template in the file renders the prompts."""
    config, generation = (_json(model / f"{name}.json") for name in ("config", "generation_config"))
    config = {**config, **(config.get("text_config") or {})}
    context = min(int(config.get("max_position_embeddings") or MOST_CONTEXT), MOST_CONTEXT)
    given = {
        "num_ctx": context,
        "repeat_penalty": 1.0,  # Ollama's own default is not that of training
        **{ours: generation[name] for name, ours in PARAMETERS.items() if name in generation},
    }
    lines = [f"FROM {file}", *(f"PARAMETER {name} {value}" for name, value in given.items())]
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


def commands(name: str, file: Path) -> list[str]:
    """What a user types who has Ollama."""
    return [f"ollama create {name} -f {file}", f"ollama run {name}"]


def push_commands(name: str) -> list[str]:
    """What a user types to publish the model under a name of theirs."""
    if "/" in name:
        return [f"ollama push {name}"]
    return [f"ollama cp {name} YOUR_NAME/{name}", f"ollama push YOUR_NAME/{name}"]


def program() -> str | None:
    """Ollama's command, if it is installed."""
    return shutil.which("ollama")


def address() -> str:
    """Where its server listens (OLLAMA_HOST)."""
    host = (os.environ.get("OLLAMA_HOST") or "").strip().rstrip("/")
    scheme, _, host = host.rpartition("://")
    name, _, port = host.partition(":")
    name = "127.0.0.1" if name in ("", "0.0.0.0") else name
    return f"{scheme or 'http'}://{name}:{port or PORT}"


def version() -> str:
    """The running server's version. Raises EnvironmentProblem if none answers."""
    return str(_asked("/api/version")["version"])


def exists(name: str) -> bool:
    """Whether Ollama has a model of this name."""
    return _run("show", "--modelfile", name).returncode == 0


def create(name: str, file: Path, log: Path) -> None:
    """`ollama create`. Raises EngineError with what it says."""
    done = _run("create", name, "-f", str(file))
    with log.open("a", encoding="utf-8") as said:
        said.write(f"ollama create {name} -f {file}\n{done.stdout}")
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise EngineError(
            f"Ollama did not make {name}.",
            why=lines[-1].strip() if lines else f"exit code {done.returncode}",
            fix=f"its whole output is in {log}; the Modelfile is {file}",
        )


def remove(name: str) -> None:
    """`ollama rm`."""
    _run("rm", name)


def substituted(name: str) -> list[str]:
    """Directives that take the place of the chat template and that Ollama has put in by itself, as
    `ollama show --modelfile` has them."""
    text = _run("show", "--modelfile", name).stdout
    found = re.findall(rf"^({'|'.join(SUBSTITUTES)}) (.*)$", text, re.MULTILINE)
    return [word for word, value in found if value.strip().strip('"') != NO_TEMPLATE]


def prompt_tokens(name: str, chat: Chat) -> int:
    """How many tokens Ollama makes of a conversation's prompt (`prompt_eval_count`)."""
    body = {
        "model": name,
        "messages": list(chat),
        "stream": False,
        "options": {"num_predict": 1, "temperature": 0},
    }
    return int(_asked("/api/chat", body).get("prompt_eval_count") or 0)


def require_same_prompts(name: str, wanted: Sequence[tuple[Chat, int]]) -> None:
    """Raise EngineError where Ollama makes other numbers of tokens of conversations' prompts."""
    counts = [count for _, count in wanted]
    found = [prompt_tokens(name, chat) for chat, _ in wanted]
    if found == counts:
        return
    put_in = substituted(name)
    raise EngineError(
        f"Ollama makes other prompts for {name} than were trained: {_listed(found)} tokens where "
        f"the tokenizer makes {_listed(counts)}.",
        why=f"it has put in a {' and a '.join(put_in)} of its own, which it uses instead of the "
        "trained chat template"
        if put_in
        else f"Ollama {version()} does not render the chat template that lies in the file",
        fix=f"{name} was removed from Ollama again: update Ollama (from 0.30 on it renders the "
        "template in the file), or serve the GGUF file with llama.cpp's llama-server",
    )


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    found = program()
    assert found is not None
    return subprocess.run(
        [found, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _asked(path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        address() + path, content, {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # near, or named
    try:
        with opener.open(request, timeout=LOAD_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        said = error.read()[:300].decode("utf-8", "replace")
        raise EngineError(f"Ollama refuses {path}.", why=said or str(error)) from error
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"Ollama is installed, but no server of it answers at {address()}.",
            why=str(error),
            fix="start it with `ollama serve`, or say with OLLAMA_HOST where it listens",
        ) from error
