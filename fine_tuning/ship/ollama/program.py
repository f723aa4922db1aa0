"""The model that Ollama makes of a Modelfile: by its own program and HTTP API."""

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
from fine_tuning.values.answers.verdict import Verdict

PORT = 11434
# In a Modelfile these take the place of the chat template in the GGUF file.
SUBSTITUTES = ("TEMPLATE", "RENDERER", "PARSER")
NO_TEMPLATE = "{{ .Prompt }}"  # what Ollama shows where a model has none
LOAD_S = 600


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
    return str(asked("/api/version")["version"])


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
    return int(asked("/api/chat", body).get("prompt_eval_count") or 0)


def require_same_prompts(name: str, wanted: Sequence[tuple[Chat, int]]) -> None:
    """Raise EngineError where Ollama makes other numbers of tokens of conversations' prompts."""
    counts = [count for _, count in wanted]
    found = [prompt_tokens(name, chat) for chat, _ in wanted]
    if found == counts:
        return
    raise EngineError(
        f"Ollama makes other prompts for {name} than were trained: {_listed(found)} tokens where "
        f"the tokenizer makes {_listed(counts)}.",
        why=_why_other_prompts(name),
        fix=other_ways(name),
    )


def require_proved(name: str, verdict: Verdict) -> None:
    """Raise EngineError unless Ollama answers the contract as was trained."""
    if verdict.holds:
        return
    finding = verdict.findings[0]
    is_prompt = finding.cause == "template"
    raise EngineError(
        f"{name} in Ollama does not answer as was trained ({finding.cause}).",
        why=f"{finding.text}; {_why_other_prompts(name)}" if is_prompt else finding.text,
        fix=other_ways(name) if is_prompt else finding.fix,
    )


def _why_other_prompts(name: str) -> str:
    put_in = substituted(name)
    if put_in:
        return (
            f"its model there has a {' and a '.join(put_in)}, which is used instead of the trained "
            "chat template"
        )
    return f"Ollama {version()} does not render the chat template that lies in the file"


def other_ways(name: str) -> str:
    """What to do where Ollama renders other prompts than were trained."""
    return (
        f"{name} was removed from Ollama again: start its server with OLLAMA_GO_TEMPLATE=0 and "
        "repeat the command (from 0.30 on it then renders the template in the file), or serve the "
        "GGUF file with llama.cpp's llama-server"
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


def asked(path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The server's answer. Raises EnvironmentProblem if none comes, EngineError if it refuses."""
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
