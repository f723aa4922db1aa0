"""A worker's process that lets a fork of a warm one do its work (tests/warm/warm_server.py)."""

import fcntl
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# What may differ between the environments of two workers: nothing reads it while it imports.
FREE = {"FINE_TUNING_FRONT_END", "PWD", "OLDPWD", "SHLVL", "_"}
FREE |= {"NO_COLOR", "RUNS", "API_VERBOSE", "WANDB_PROJECT"}
if not Path("/dev/nvidia0").exists():
    FREE |= {"CUDA_VISIBLE_DEVICES", "PYTORCH_ALLOC_CONF"}
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIMITS = ("RLIMIT_FSIZE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_CORE")
START_S = 120


def run_warm(words: Sequence[str]) -> None:
    """Do what `python -m fine_tuning.engine.worker WORDS` does in a fork of a process that has
    imported everything; does not come back, or comes back at once where there is none.

    The first worker of an environment starts as it is: most environments are met once.
    """
    place = Path(os.environ["PYTEST_WARM"], fingerprint())
    connection = connected(place)
    if connection is None:
        return
    asked: dict[str, Any] = {
        "words": list(words),
        "orig_argv": sys.orig_argv,
        "environment": dict(os.environ),
        "cwd": str(Path.cwd()),
        "umask": umask(),
        "ignored": [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
    }
    message = json.dumps(asked).encode()
    socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(message)
    for number in FORWARDED:
        if number not in asked["ignored"]:
            signal.signal(number, lambda number, frame: connection.send(bytes([number])))
    status = connection.recv(4)
    end_as(int.from_bytes(status, "big") if status else signal.SIGKILL)


def fingerprint() -> str:
    """The same for two workers that import the same things in the same surroundings."""
    same = {
        name: value
        for name, value in os.environ.items()
        if name not in FREE and not name.startswith("PYTEST_")
    }
    spaces = [str(Path("/proc/self/ns", kind).readlink()) for kind in ("mnt", "net", "user")]
    parts = [sys.executable, os.getuid(), same, spaces]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def connected(place: Path) -> socket.socket | None:
    """A connection with the server of this environment, which the second worker starts."""
    try:
        if not place.exists():
            place.mkdir(exist_ok=True)
            return None
        with suppress(FileExistsError):
            (place / "asked").mkdir()
            start_server(place)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(os.fspath(wait_for(place)))
    except (OSError, subprocess.CalledProcessError):
        return None
    return connection


def start_server(place: Path) -> None:
    """A process that imports what a worker imports, and then waits.

    It is nobody's child: who kills this worker, and all that it started, must not kill it. It holds
    a lock for as long as it lives.
    """
    with (place / "log").open("wb") as log, (place / "alive.new").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        (place / "alive.new").rename(place / "alive")
        server = [sys.executable, "-P", str(Path(__file__).with_name("warm_server.py")), str(place)]
        subprocess.run(
            ["setsid", "--fork", *server],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[alive.fileno()],
            cwd="/",
            check=True,
        )


def wait_for(place: Path) -> Path:
    """The door at which the server listens; raises OSError where it never will."""
    deadline = time.monotonic() + START_S
    while not (door := place / "door").exists():
        if time.monotonic() > deadline or has_ended(place / "alive"):
            raise TimeoutError(door)
        time.sleep(0.05)
    return door


def has_ended(alive: Path) -> bool:
    """Whether the server that held this lock has gone."""
    if not alive.exists():
        return False
    with alive.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def umask() -> int:
    """The mask of new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def end_as(status: int) -> None:
    """End as the fork has ended; `status` is that of os.waitpid."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
