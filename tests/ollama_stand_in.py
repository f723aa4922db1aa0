"""A stand-in for Ollama: its command line and its HTTP API, as far as they are used here.

    python tests/ollama_stand_in.py serve
    python tests/ollama_stand_in.py create NAME -f MODELFILE | show --modelfile NAME | rm NAME

Written from Ollama's documented behaviour. Prompts are rendered and counted by llama.cpp on the
GGUF file that FROM names, or that is made of a directory of safetensors, of the kinds and by the
files that the real one reads (convert/convert.go, convert/tokenizer.go): neither a chat template in
a file of its own nor the `rope_parameters` of Transformers 5. Like the real one, `create` puts in
a template of its own where the Modelfile has none and the file's Jinja lies near one that it knows
(server/model.go, template/); for chat a Go template is used instead of the Jinja, unless the Jinja
can do more (server/images.go: shouldPreferChatTemplate). OLLAMA_MODELS is where it keeps what it
has; `built-in.json` there has the Jinja that it knows, and its own template for it.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fine_tuning.ship.llama_cpp.serve import ask, serving
from tests.go_template import rendered
from tests.llama_cpp import converted

VERSION = "0.33.0"
NEAR = 100  # letters by which two templates may differ
NO_TEMPLATE = "{{ .Prompt }}"
DIRECTIVE = re.compile(r'^(\w+) (?:"""(.*?)"""|"(.*?)"|(.*?))$', re.MULTILINE | re.DOTALL)
IMPORTED = ("LlamaForCausalLM", "Qwen2ForCausalLM", "GemmaForCausalLM", "Phi3ForCausalLM")
KNOWN = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES")


TELLS_PROMPTS = os.environ.get("OLLAMA_TELLS_PROMPTS") != "0"  # as older versions do not
LOADED: dict[Path, str] = {}  # file -> address of the server that has it loaded
LOADING = threading.Lock()


@contextmanager
def served_file(file: Path) -> Iterator[str]:
    """llama.cpp's server for a file; while Ollama's own server runs, it stays loaded."""
    if not KEEPS:
        with serving(file, home() / "log") as url:
            yield url
        return
    with LOADING:
        if file not in LOADED:
            LOADED[file] = KEEPS[0].enter_context(serving(file, home() / "log"))
    yield LOADED[file]


KEEPS: list[ExitStack] = []  # what ends those servers, while Ollama's runs


@contextmanager
def kept_loaded() -> Iterator[None]:
    """Files that are asked for in the block stay loaded until its end."""
    with ExitStack() as loaded:
        KEEPS.append(loaded)
        try:
            yield
        finally:
            KEEPS.clear()
            LOADED.clear()


def home() -> Path:
    return Path(os.environ["OLLAMA_MODELS"])


def stored(name: str) -> Path:
    return home() / f"{name.replace('/', '+')}.json"


def directives(text: str) -> list[tuple[str, str]]:
    found = DIRECTIVE.findall(re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(word.upper(), one or two or three) for word, one, two, three in found]


def value(model: list[list[str]], name: str, default: str = "") -> str:
    return next((given for word, given in model if word == name), default)


def create(name: str, file: Path) -> int:
    made = directives(file.read_text(encoding="utf-8"))
    unknown = [word for word, _ in made if word not in KNOWN]
    if unknown or made[0][0] != "FROM":
        print(f"Error: (line 1): command must be one of {', '.join(KNOWN)}: {unknown}")
        return 1
    source = (file.parent / made[0][1]).resolve()
    if source.is_dir() and any(source.glob("model*.safetensors")):
        kind = json.loads((source / "config.json").read_text(encoding="utf-8"))["architectures"][0]
        if kind not in IMPORTED:
            print(f'Error: unsupported architecture "{kind}"')
            return 1
        source = imported(source, home() / f"{name.replace('/', '+')}.gguf")
    if not source.is_file():
        print(f"Error: no Modelfile or safetensors files found: {made[0][1]}")
        return 1
    model = [("FROM", str(source)), *made[1:]]
    built_in = home() / "built-in.json"
    if built_in.exists() and not value(model, "TEMPLATE"):  # type: ignore[arg-type]
        known = json.loads(built_in.read_text(encoding="utf-8"))
        with served_file(source) as url:
            jinja = ask(url, "/props")["chat_template"]
        if distance(jinja, known["jinja"]) < NEAR:
            model.append(("TEMPLATE", known["go"]))
    stored(name).write_text(json.dumps(model), encoding="utf-8")
    print("gathering model components\nwriting manifest\nsuccess")
    return 0


def imported(source: Path, target: Path) -> Path:
    """The directory as Ollama converts it: to float16, by what it reads."""
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(shutil.copytree(source, Path(folder, "seen")))
        (seen / "chat_template.jinja").unlink(missing_ok=True)
        config = json.loads((seen / "config.json").read_text(encoding="utf-8"))
        config.pop("rope_parameters", None)
        (seen / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return converted(seen, target, "f16")


def distance(one: str, other: str) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
    return row[-1]


def show(name: str) -> int:
    if not stored(name).exists():
        print(f"Error: model '{name}' not found")
        return 1
    model = json.loads(stored(name).read_text(encoding="utf-8"))
    if not value(model, "TEMPLATE"):
        model.insert(1, ["TEMPLATE", NO_TEMPLATE])
    print('# Modelfile generated by "ollama show"')
    for word, given in model:
        print(
            f'{word} """{given}"""' if word == "TEMPLATE" and "\n" in given else f"{word} {given}"
        )
    return 0


def generate(model: list[list[str]], body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a raw prompt."""
    most = body["options"]["num_predict"]
    asked = {"prompt": body["prompt"], "n_predict": most, "temperature": 0}
    asked |= {"n_probs": body["top_logprobs"]} if body.get("logprobs") else {}
    with served_file(Path(value(model, "FROM"))) as url:
        found = ask(url, "/completion", asked)
    told = found.get("completion_probabilities", [])
    return {
        "response": found["content"],
        "done": True,
        "done_reason": "length" if found["stop_type"] == "limit" else "stop",
        "prompt_eval_count": found["tokens_evaluated"],
        "logprobs": told,
    }


def shown(model: list[list[str]]) -> dict[str, Any]:
    template = value(model, "TEMPLATE", NO_TEMPLATE)
    lines = [f"{word} {given}" for word, given in model if word != "TEMPLATE"]
    details = {"format": "gguf", "quantization_level": "F32"}
    modelfile = "\n".join([*lines, f"TEMPLATE {template}"])
    return {
        "modelfile": modelfile,
        "template": template,
        "details": details,
        "system": value(model, "SYSTEM"),
    }


def prefers_jinja(jinja: str, template: str) -> bool:
    """Whether the Jinja can do more than the Go template: tools, or rounds with them."""
    tools = "tools" in jinja or "tool_call" in jinja
    if not tools:
        return False
    round_trip = 'eq .Role "tool"' in template and ".ToolCalls" in template
    return ".Tools" not in template or not round_trip


def prompt_of(model: list[list[str]], messages: list[dict[str, Any]], tools: list[Any]) -> str:
    """A chat's prompt: by a Go template where there is one, else by the file's Jinja."""
    system = value(model, "SYSTEM")
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    template = value(model, "TEMPLATE")
    with served_file(Path(value(model, "FROM"))) as url:
        if template and not prefers_jinja(ask(url, "/props")["chat_template"], template):
            systems = [it["content"] for it in messages if it["role"] == "system"]
            turns = [{"Role": it["role"], "Content": it["content"]} for it in messages]
            return rendered(template, {"System": "\n\n".join(systems), "Messages": turns})
        given = {"messages": messages, **({"tools": tools} if tools else {})}
        return str(ask(url, "/apply-template", given)["prompt"])


def count(model: list[list[str]], prompt: str) -> int:
    """The tokens of a prompt."""
    with served_file(Path(value(model, "FROM"))) as url:
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        return len(ask(url, "/tokenize", asked)["tokens"])


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        names = [path.stem.replace("+", "/") for path in sorted(home().glob("*.json"))]
        listed = {"models": [{"name": name} for name in names if name != "built-in"]}
        self._answer(200, listed if self.path == "/api/tags" else {"version": VERSION})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not stored(body["model"]).exists():
            self._answer(404, {"error": f"model '{body['model']}' not found"})
            return
        model = json.loads(stored(body["model"]).read_text(encoding="utf-8"))
        if self.path == "/api/show":
            self._answer(200, shown(model))
            return
        if self.path == "/api/generate":
            self._answer(200, generate(model, body))
            return
        prompt = prompt_of(model, body["messages"], body.get("tools") or [])
        if body.get("_debug_render_only") and TELLS_PROMPTS:
            self._answer(200, {"_debug_info": {"rendered_template": prompt}})
            return
        tokens = count(model, prompt)
        self._answer(200, {"done": True, "prompt_eval_count": tokens, "eval_count": 1})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def served() -> bool:
    try:
        urllib.request.urlopen(f"http://{os.environ['OLLAMA_HOST']}/api/version", timeout=10)
    except (urllib.error.URLError, KeyError):
        print("Error: could not connect to ollama server, run 'ollama serve' to start it")
        return False
    return True


def main(words: list[str]) -> int:
    match words:
        case ["serve"]:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
            print(f"127.0.0.1:{server.server_port}", flush=True)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            with kept_loaded():
                server.serve_forever()
            return 0
        case _ if not served():
            return 1
        case ["create", name, "-f", file]:
            return create(name, Path(file))
        case ["show", "--modelfile", name]:
            return show(name)
        case ["rm", name]:
            stored(name).unlink()
            print(f"deleted '{name}'")
            return 0
    print(f"Error: unknown command {words}")
    return 1


def install(folder: Path) -> None:
    """Write `ollama`, as it stands on a PATH, into the folder."""
    root = Path(__file__).parents[1]
    program = folder / "ollama"
    words = f'PYTHONPATH="{root}" exec "{sys.executable}" "{__file__}" "$@"'
    program.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
