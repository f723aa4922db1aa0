"""Starts the worker, speaks with it, and turns its failures into errors that a user can act on."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from fine_tuning import errors
from fine_tuning.disk import files
from fine_tuning.disk.resources import python_path
from fine_tuning.engine.process.environment import environment
from fine_tuning.engine.process.known_errors import explain
from fine_tuning.errors import FineTuningError, Interrupted
from fine_tuning.values.spec import RunSpec

MODULE = "fine_tuning.engine.worker"
TAIL = 16_000  # bytes of the log that may say why a worker ended
LAST_LINES = 20
TRACEBACK = re.compile(r"^.*Traceback \(most recent call last\)", re.MULTILINE)
# A traceback below such a line belongs to the one above it.
CHAINED = re.compile(
    r"(During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):\s*$"
)
# torchrun's own traceback, which follows that of the process that failed.
OF_TORCHRUN = "ChildFailedError"
STALE_LOCK_S = 600
STOPPABLE = ("train", "answer", "serve")  # what a first Ctrl-C ends early; all else is killed
OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Log:
    """The log of a run, from where this process began: older failures explain nothing new."""

    path: Path
    start: int

    def tail(self) -> str:
        """The end of what was written since."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self.start, end - TAIL))
            return log.read().decode("utf-8", errors="replace")


def log_from_here(path: Path) -> Log:
    """The log as it grows from now on."""
    return Log(path, path.stat().st_size if path.exists() else 0)


class Worker:
    """A worker process that answers one request at a time; a context manager that ends it.

    `start` returns at once, so that the worker's imports overlap with whatever the caller does
    before the first request; a request starts it if nobody did. It lives in a
    session of its own: Ctrl-C reaches only the front end, which decides.
    """

    def __init__(self, log_path: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self._log = log_from_here(log_path)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._was_asked = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._process is not None:
            kill(self._process)  # it imports, or waits: nothing is lost, and nobody waits for it
        self.close()

    def start(self) -> "subprocess.Popen[str]":
        """Start the process, if it does not run yet."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", MODULE, str(self._log.path)]
            self._process = start_process(command, self._log.path, self._environment)
        return self._process

    def request(
        self,
        stage: str,
        arguments: Mapping[str, Any],
        on_event: OnEvent,
        stop_path: Path | None = None,
    ) -> dict[str, Any]:
        """Run one stage and give its result; events on the way go to `on_event`.

        On Ctrl-C during the steps of a training, or an answer, `stop_path` is created, and the
        training ends by itself with a checkpoint, the answer where it is; a second one, or one at
        any other time, kills the worker and raises Interrupted.
        """
        line = json.dumps({"stage": stage, "args": dict(arguments)}) + "\n"
        process = self.start()
        self._was_asked = True
        assert process.stdin is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            raise died(process, self._log) from None
        return answer_of(process, self._log, on_event, stop_path)

    def restart(self) -> None:
        """End the process and start another, in which nothing is loaded or patched."""
        self.close()
        self._process, self._was_asked = None, False
        self.start()

    def close(self) -> None:
        """End the process; one that does not end by itself is killed, or was asked nothing."""
        if self._process is None:
            return
        if not self._was_asked:
            kill(self._process)  # it imports for nobody
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            kill(self._process)


def worker_for(spec: RunSpec, log: Path) -> Worker:
    """A worker for such a job; it starts with its first request, or when it is told to."""
    return Worker(log, environment=environment(spec))


def run_distributed(
    requests: list[Mapping[str, Any]],
    *,
    job_path: Path,
    log_path: Path,
    launch: Mapping[str, Any],
    environment: Mapping[str, str],
    on_event: OnEvent,
    stop_path: Path,
) -> dict[str, Any]:
    """Run the requests in several processes under torchrun; gives the last one's result.

    `launch`: nproc_per_node, nnodes, node_rank, master_addr, master_port. The command is a list,
    so that paths may hold spaces (LLaMA-Factory's own launcher splits a string).
    """
    job_path.write_text(json.dumps(requests), encoding="utf-8")
    remove_stale_locks()
    command = torchrun_command(launch, [MODULE, str(log_path), str(job_path)])
    log = log_from_here(log_path)
    process = start_process(command, log_path, environment)
    try:
        return answer_of(process, log, on_event, stop_path)
    finally:
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            kill(process)


def remove_stale_locks() -> None:
    """Remove the locks of compilations that were killed: whoever meets one waits for ever.

    DeepSpeed compiles its operations when they are first used, under a lock file that says nothing
    of its owner (torch/utils/file_baton.py). No compilation takes as long as STALE_LOCK_S.
    """
    home = Path.home() / ".cache" / "torch_extensions"
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or home)
    for lock in root.glob("**/lock"):
        with suppress(OSError):
            if time.time() - lock.stat().st_mtime > STALE_LOCK_S:
                lock.unlink()


def torchrun_command(launch: Mapping[str, Any], module: list[str]) -> list[str]:
    """The argument list that starts `module` on every process of this node."""
    return [
        sys.executable,
        "-P",
        "-m",
        "torch.distributed.run",
        f"--nproc_per_node={launch['nproc_per_node']}",
        f"--nnodes={launch['nnodes']}",
        f"--node_rank={launch['node_rank']}",
        f"--master_addr={launch['master_addr']}",
        f"--master_port={launch['master_port']}",
        "-m",
        *module,
    ]


def free_port() -> int:
    """A TCP port that was free on the loopback interface a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_process(
    command: list[str], log_path: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    """Start a worker command; what it says outside its events is appended to the log."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    inherited = dict(os.environ)
    # The tokenizers library keeps forked readers from waiting for threads that they do not have,
    # but not where somebody has set this.
    inherited.pop("TOKENIZERS_PARALLELISM", None)
    with log_path.open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env={
                **inherited,
                # Threads that wait actively steal each other's cores when anything else runs:
                # twice as slow or worse on two cores (bench/contention.py).
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
                **environment,
                "PYTHONPATH": python_path(os.environ.get("PYTHONPATH")),
                "PYTHONUNBUFFERED": "1",
                "FINE_TUNING_FRONT_END": str(os.getpid()),
            },
        )


def answer_of(
    process: "subprocess.Popen[str]", log: Log, on_event: OnEvent, stop_path: Path | None
) -> dict[str, Any]:
    """Read events until the result; raise what went wrong."""
    assert process.stdout is not None
    asked_to_stop, stage = False, ""
    while True:
        try:
            line = process.stdout.readline()
            if not line:
                raise died(process, log)
            event = _parsed(line)
            kind = event.get("event")
            if kind == "result":
                return dict(event["value"])
            if kind == "error":
                raise _named(event, log.path)
            if kind == "stage":
                stage = str(event["name"])
            if kind:
                on_event(event)
        except KeyboardInterrupt:
            # loading and scoring leave nothing behind that is worth waiting for
            if stop_path is None or asked_to_stop or stage not in STOPPABLE:
                kill(process)
                raise Interrupted("Interrupted.", fix="the same command continues") from None
            asked_to_stop = True
            stop_path.touch()
            on_event({"event": "stopping"})


def _parsed(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _named(event: Mapping[str, Any], log_path: Path) -> FineTuningError:
    """The worker's error as one of ours."""
    named = getattr(errors, str(event.get("kind")), None)
    if isinstance(named, type) and issubclass(named, FineTuningError):
        if issubclass(named, errors.UsageError):
            return named(str(event["what"]), fix=str(event["fix"]))
        parts = {"why": str(event["why"]), "fix": str(event["fix"])}
        if issubclass(named, errors.RowsError):
            return named(str(event["what"]), **parts, rows=event["rows"])
        return named(str(event["what"]), **parts)
    text = f"{event.get('type')}: {event.get('text')}\n{event.get('trace')}"
    return explain(text, log_path, last_line=f"{event.get('type')}: {event.get('text')}")


def died(process: "subprocess.Popen[str]", log: "Log") -> FineTuningError:
    """Why a worker that ended without an answer ended."""
    code = process.wait()
    tail = ending_of(log.tail())
    if code == -signal.SIGKILL:
        tail += "\nthe process was killed (SIGKILL), as the system does when memory is exhausted"
    elif code < 0:
        tail += f"\nthe process was ended by {signal.Signals(-code).name}"
    if files.has_no_room(log.path.parent):
        tail += f"\n{os.strerror(errno.ENOSPC)}"  # which the log had no room to say
    lines = [line for line in tail.splitlines() if line.strip()]
    return explain(tail, log.path, last_line=lines[-1] if lines else f"exit code {code}")


def ending_of(tail: str) -> str:
    """What a log ends with: its last traceback, else its last lines.

    Above them LLaMA-Factory shows a training example, which may speak of any error.
    """
    starts = [match.start() for match in TRACEBACK.finditer(tail)]
    starts = [start for start in starts if not CHAINED.search(tail[:start])]
    if starts and OF_TORCHRUN in tail[starts[-1] :]:
        torchrun = starts.pop()
        return ending_of(tail[:torchrun]) + tail[torchrun:]
    return tail[starts[-1] :] if starts else "\n".join(tail.splitlines()[-LAST_LINES:])


def kill(process: "subprocess.Popen[str]") -> None:
    """End the process and all that it started.

    torchrun starts each of its processes in a session of its own, which killpg does not reach.
    """
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
