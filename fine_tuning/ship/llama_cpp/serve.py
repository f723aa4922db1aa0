"""llama.cpp's own server over a GGUF file, in a process that ends with the one that asked for it.

    python -m fine_tuning.ship.llama_cpp.serve FILE CONTEXT PROJECTOR [ADAPTER ...]

A process of its own: llama.cpp ends the process when it meets what it does not expect. It says
where it listens in a line of JSON, and ends when its input does.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fine_tuning.disk.resources import REINSTALL, python_path
from fine_tuning.errors import EngineError, EnvironmentProblem

MODULE = "fine_tuning.ship.llama_cpp.serve"
NOT_INSTALLED = 3  # exit code
LINES = 20  # of the log that say why it ended
ANSWER_S = 600
SMALL = 256 * 2**20  # bytes of a file that one thread serves as fast as several


@contextmanager
def serving(
    file: Path,
    log: Path,
    *,
    context: int = 4096,
    adapters: Sequence[Path] = (),
    projector: Path | None = None,
) -> Iterator[str]:
    """The URL under which the model answers inside the block: llama.cpp's HTTP API, and OpenAI's.

    `context` is the number of tokens of prompt and answer, `projector` the file of the part that
    takes pictures or sounds; what llama.cpp says goes to `log`.
    Raises EngineError for a file that it does not load.
    """
    words = (file, context, projector or "", *adapters)
    command = [sys.executable, "-P", "-m", MODULE, *map(str, words)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        before = said.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": python_path(os.environ.get("PYTHONPATH"))},
            start_new_session=True,  # Ctrl-C is for the front end, which ends it
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise _ended(file, process.wait(), log, before)
        yield str(json.loads(line)["url"])
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _ended(file: Path, code: int, log: Path, before: int) -> EngineError | EnvironmentProblem:
    if code == NOT_INSTALLED:
        return EnvironmentProblem("The Python package xllamacpp is not installed.", fix=REINSTALL)
    with log.open("rb") as said:
        said.seek(before)
        lines = said.read().decode("utf-8", "replace").splitlines()
    errors = [line for line in lines[-LINES:] if "error" in line.lower()] or lines[-1:]
    return EngineError(
        f"llama.cpp does not load {file}.",
        why=errors[0].strip() if errors else f"it ended with code {code}",
        fix=f"its whole output is in {log}",
    )


def ask(url: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The server's answer to a POST with this body, or a GET without one. Raises EngineError."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, content, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        said = error.read()[:300] if isinstance(error, urllib.request.HTTPError) else b""
        raise EngineError(
            f"llama.cpp's server did not answer {path}.",
            why=f"{error} {said.decode('utf-8', 'replace')}".strip(),
        ) from error
    return found


def serve(file: str, context: int, projector: str, adapters: Sequence[str]) -> None:
    """Serve until the input ends."""
    try:
        import xllamacpp
    except ImportError:
        sys.exit(NOT_INSTALLED)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = file
    if projector:
        parameters.mmproj.path = projector
    parameters.n_ctx = context
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    if Path(file).stat().st_size < SMALL:
        # threads wait for each other actively, at every layer: where anything else runs, two are
        # many times slower than one
        for threads in (parameters.cpuparams, parameters.cpuparams_batch):
            threads.n_threads = 1
    if adapters:
        loaded = []
        for path in adapters:
            adapter = xllamacpp.CommonAdapterLoraInfo()
            adapter.path, adapter.scale = path, 1.0
            loaded.append(adapter)
        parameters.lora_adapters = loaded
    # what libraries print must not be taken for the answer
    answer = os.dup(1)
    os.dup2(2, 1)
    server = xllamacpp.Server(parameters)
    os.write(answer, (json.dumps({"url": server.listening_address}) + "\n").encode())
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
