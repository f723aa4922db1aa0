"""A worker that begins with warm libraries (tests/warm) is started, steered and ended as any."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fine_tuning.engine.process.launch import Worker
from tests.shell import WARM
from tests.warm.warm_client import has_ended, start_server, wait_for

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.environ.get(WARM, "0") == "0", reason="every worker starts cold"),
]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Worker]:
    """A worker of an environment that was met twice before."""
    for _ in range(2):
        with Worker(tmp_path / "engine.log") as before:
            before.request("devices", {}, lambda event: None)
    with Worker(tmp_path / "engine.log") as worker:
        assert worker.request("devices", {}, lambda event: None)["kind"] == "cpu"
        yield worker


def fork_of(process: "subprocess.Popen[str]", log: Path) -> psutil.Process:
    """The other process that writes into the log."""
    (found,) = [
        known
        for known in psutil.process_iter(["cmdline", "open_files"])
        if any(word.endswith("warm_server.py") for word in known.info["cmdline"] or ())
        and os.fspath(log) in [file.path for file in known.info["open_files"] or ()]
    ]
    assert found.pid != process.pid
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_the_process_and_what_works_for_it(
    warm: Worker, tmp_path: Path, number: int
) -> None:
    process = warm.start()
    fork = fork_of(process, tmp_path / "engine.log")
    os.kill(process.pid, number)
    assert process.wait(timeout=20) == -number
    deadline = time.monotonic() + 20
    while fork.is_running() and fork.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_whoever_kills_a_worker_leaves_the_warm_one_alive(tmp_path: Path) -> None:
    """Of an environment whose server was killed with the worker that had started it, each further
    worker waited two minutes."""
    start_server(tmp_path)
    with pytest.raises(TimeoutError):
        assert not has_ended(tmp_path / "alive")
        mine = psutil.Process().children(recursive=True)
        assert not any("warm_server.py" in " ".join(child.cmdline()) for child in mine)
        for known in psutil.process_iter(["cmdline"]):
            if os.fspath(tmp_path) in (known.info["cmdline"] or ()):
                known.kill()
        begun = time.monotonic()
        wait_for(tmp_path)
    assert time.monotonic() - begun < 20
