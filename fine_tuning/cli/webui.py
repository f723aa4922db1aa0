"""`webui`: LLaMA Board over the datasets that runs have prepared, on this machine only."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from fine_tuning.cli.data.samples import register_samples
from fine_tuning.cli.listening import LOCAL, port_to_listen_on, url_of, warning_of
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.runs.last_run import LastRun, last_run
from fine_tuning.cli.runs.listing import USUAL
from fine_tuning.cli.runs.served import served_runs
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk.resources import python_path
from fine_tuning.errors import EXIT_DONE, EnvironmentProblem
from fine_tuning.escaping import visible
from fine_tuning.run.folder import make_directory

USUAL_PORT = 7860
START_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Serving:
    """LLaMA Board as it begins to answer; the command goes on until it is ended."""

    url: Annotated[str, "where it answers"]
    runs_url: Annotated[str, "where the runs and their reports are listed"]
    log: Annotated[Path, "its output"]
    dataset_dir: Annotated[Path, "the folder whose datasets it lists"]


def run(job: Resolved) -> Outcome[Serving]:
    """Serve LLaMA Board until Ctrl-C; everything that it started ends with it."""
    dataset_dir: Path = job.spec.dataset_dir
    host = job.options["host"] or os.environ.get("GRADIO_SERVER_NAME") or LOCAL
    port = port_to_listen_on(
        host, job.options["port"] or _number(os.environ.get("GRADIO_SERVER_PORT")), USUAL_PORT
    )
    make_directory(dataset_dir, "dataset_dir")
    samples = register_samples(dataset_dir)
    if samples:
        print(visible(f"Registered in {dataset_dir}: {', '.join(samples)}"))
    runs: Path = job.options["runs_dir"] or USUAL
    last = last_run(runs)
    with ExitStack() as started:
        log = started.enter_context(_log())
        board = started.enter_context(_board(dataset_dir, host, port, last, log))
        print("Starting LLaMA Board (this takes some seconds) ...", flush=True)
        _wait(board, host, port, Path(log.name))
        listed_at = started.enter_context(served_runs(runs, host, port + 1, url_of(host, port)))
        print(
            f"LLaMA Board: {url_of(host, port)}\n"
            f"Runs in {visible(str(runs))} and their reports: {url_of(host, listed_at)}\n"
            f"Its output: {log.name}\nCtrl-C ends it."
        )
        if warning := warning_of(host):
            print(f"{warning}: there is no password.")
        sys.stdout.flush()
        goes_on = started.pop_all()  # it ends with `until_ended`
    serving = Serving(
        url=url_of(host, port),
        runs_url=url_of(host, listed_at),
        log=Path(log.name),
        dataset_dir=dataset_dir,
    )

    def until_ended() -> int:
        with goes_on:
            try:
                code = board.wait()
            except KeyboardInterrupt:
                print("\nLLaMA Board has ended.")
                return EXIT_DONE
        raise EnvironmentProblem(
            f"LLaMA Board ended by itself ({code}).", fix=f"look into {log.name}"
        )

    return Outcome(serving, after=until_ended)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


@contextmanager
def _log() -> Iterator[TextIO]:
    """A file for what Board and the trainings started from it print; it stays."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="llama-board-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        yield log  # type: ignore[misc]  # the wrapper delegates everything to a TextIO


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of Board: its trainings find llamafactory-cli, and nothing reports home."""
    beside = str(Path(sys.executable).parent)
    past_proxy = ",".join(filter(None, [own.get("no_proxy") or own.get("NO_PROXY"), LOCAL]))
    return {
        **own,
        "PATH": os.pathsep.join([beside, own.get("PATH", "")]),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SHARE": "False",
        "no_proxy": f"{past_proxy},localhost",
        "NO_PROXY": f"{past_proxy},localhost",
        "PYTHONPATH": python_path(own.get("PYTHONPATH")),
    }


@contextmanager
def _board(
    dataset_dir: Path, host: str, port: int, last: LastRun | None, log: TextIO
) -> Iterator[subprocess.Popen[bytes]]:
    """The Board process in a group of its own, which is ended as a whole."""
    module = "fine_tuning.engine.worker.board"
    shows = last and {"model": last.model, "template": last.template, "adapters": last.adapters}
    opened = json.dumps(shows or {})
    board = subprocess.Popen(
        [sys.executable, "-m", module, str(dataset_dir.absolute()), host, str(port), opened],
        stdin=subprocess.PIPE,  # it ends when this closes
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment(os.environ),
        start_new_session=True,
    )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield board
    finally:
        signal.signal(signal.SIGTERM, before)
        _end(board)


def _end(board: subprocess.Popen[bytes]) -> None:
    """End Board and the trainings it started: asked first, then forced."""
    if not hasattr(os, "killpg"):
        board.kill()
        board.wait()
        return
    with suppress(ProcessLookupError):
        os.killpg(board.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        board.wait(timeout=5)
    with suppress(ProcessLookupError):
        os.killpg(board.pid, signal.SIGKILL)
    board.wait()


def _wait(board: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    """Return when the page really answers."""
    open_url = build_opener(ProxyHandler({})).open  # a proxy would not know this machine
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if board.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise EnvironmentProblem(
                "LLaMA Board did not start.",
                why=lines[-1] if lines else f"it ended with code {board.returncode}",
                fix=f"`doctor` tests the environment; the whole output is in {log}",
            )
        with suppress(URLError, OSError), open_url(url_of(host, port), timeout=5) as page:
            if page.status == 200:
                return
        time.sleep(0.2)
    raise EnvironmentProblem(
        f"LLaMA Board did not answer within {START_SECONDS} s.", fix=f"look into {log}"
    )
