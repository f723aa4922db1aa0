"""Runs the command as a user does, in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "llama_factory_fine_tuning.py"
# Its site module reads the path of an installed checkout in the encoding of the locale.
starts_in_ascii = pytest.mark.skipif(
    not str(ROOT).isascii(), reason="Python itself does not start here in an ASCII locale"
)


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without colours, with two threads for torch."""
    return {
        **os.environ,
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        **more,
    }


def start(
    *words: object, cwd: Path, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start the command; its output is read through `.stdout`."""
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, words)],
        cwd=cwd,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        preexec_fn=hear_ctrl_c,
    )


def hear_ctrl_c() -> None:
    """In a new process: as in a terminal, also where the tests run as a job in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def command(
    *words: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end; output and errors in `.stdout`."""
    process = start(*words, cwd=cwd, env=env)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, "")
