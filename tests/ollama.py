"""Ollama for a test: the stand-in on the PATH, with its server running."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ollama_stand_in import install


@contextmanager
def ollama(folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables with which a command finds it; what it knows lies in `folder`."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    install(programs)
    found = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "OLLAMA_MODELS": str(folder),
        "OLLAMA_HOST": "127.0.0.1:9",
    }
    server = subprocess.Popen(
        [programs / "ollama", "serve"],
        env={**os.environ, **found},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield {**found, "OLLAMA_HOST": server.stdout.readline().strip()}
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
