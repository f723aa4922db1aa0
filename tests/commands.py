"""Runs the command as a user does, in a process of its own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fine_tuning.cli.output.page import result_types
from fine_tuning.cli.settings.commands import COMMANDS

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


@dataclasses.dataclass(frozen=True)
class Told:
    """What a command with `--json` said: its result as the type that docs/json.md shows, and
    everything that is for people."""

    code: int
    result: Any
    error: Any
    text: str


def told(
    *words: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600
) -> Told:
    """Run the command with `--json` to its end."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words), "--json"],
        cwd=cwd,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
    )
    return read_told(done.stdout, done.stderr, done.returncode)


def read_told(out: str, text: str, code: int) -> Told:
    """One object, and nothing else, stands on standard output."""
    assert out.count("\n") == 1 and out.endswith("\n"), (out, text)
    found = json.loads(out)
    assert found.keys() == {"version", "command", "exit_code", "result", "error", "warnings"}
    assert found["exit_code"] == code, found
    assert (found["result"] is None) != (found["error"] is None), found
    result = found["result"]
    if result is not None and found["command"] in COMMANDS:
        result = typed(found["command"], result)
    return Told(code, result, found["error"], text)


def typed(command: str, result: Any) -> Any:
    """A result as the first type of its command that it is; a field too many is none."""
    mistakes = []
    for kind in result_types(COMMANDS[command]):
        try:
            value: Any = msgspec.convert(result, kind, dec_hook=lambda wanted, text: wanted(text))
        except msgspec.ValidationError as error:
            mistakes.append(f"{kind.__name__}: {error}")
            continue
        unknown = result.keys() - {field.name for field in dataclasses.fields(kind)}
        assert not unknown, (kind, unknown)
        return value
    raise AssertionError("\n".join(mistakes))
