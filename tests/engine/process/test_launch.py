"""How the worker's processes end, and how the reason is found in their log."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fine_tuning.engine.process.launch import (
    TAIL,
    Worker,
    died,
    ending_of,
    free_port,
    kill,
    log_from_here,
    remove_stale_locks,
    torchrun_command,
)
from fine_tuning.errors import EngineError, EnvironmentProblem

EXAMPLE = "inputs:\nOur job says CUDA out of memory and No space left on device, what now?\n"
CHATTER = "".join(f"[INFO] loading shard {i}\n" for i in range(40))
TRACE = "Traceback (most recent call last):\n  File "
TORCHRUN = f"{TRACE}run.py\ntorch.distributed.elastic.ChildFailedError:\nworker FAILED\n"


def ended(code: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", code], text=True)
    process.wait()
    return process


def test_a_training_example_in_the_log_is_no_cause(tmp_path: Path) -> None:
    """A row about memory and a segmentation fault gave the advice to shrink the batch."""
    log = log_from_here(tmp_path / "engine.log")
    log.path.write_text(EXAMPLE + CHATTER, encoding="utf-8")
    segfault = ended("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    error = died(segfault, log)
    assert "ended by SIGSEGV" in error.what
    with log.path.open("a", encoding="utf-8") as more:
        more.write(EXAMPLE + f"{TRACE}x.py\nKeyError: 3\n")
    assert "KeyError: 3" in died(ended("raise SystemExit(1)"), log).what


def test_the_cause_of_a_failed_process_is_above_torchrun_s(tmp_path: Path) -> None:
    log = log_from_here(tmp_path / "engine.log")
    cause = f"[rank1]: {TRACE}x.py\n[rank1]: torch.OutOfMemoryError: CUDA out of memory\n"
    log.path.write_text(cause + TORCHRUN, encoding="utf-8")
    error = died(ended("raise SystemExit(1)"), log)
    assert isinstance(error, EngineError) and "--batch_size 1" in error.fix
    assert "out of memory" not in ending_of(EXAMPLE + CHATTER + TORCHRUN)


def test_the_first_of_chained_exceptions_counts(tmp_path: Path) -> None:
    log = log_from_here(tmp_path / "engine.log")
    log.path.write_text(
        f"{TRACE}x.py\nOSError: [Errno 28] No space left on device\n\n"
        f"During handling of the above exception, another exception occurred:\n\n"
        f"{TRACE}y.py\nRuntimeError: closed\n",
        encoding="utf-8",
    )
    assert isinstance(died(ended("raise SystemExit(1)"), log), EnvironmentProblem)


def test_only_the_end_of_the_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_text("older\n", encoding="utf-8")
    log = log_from_here(path)
    with path.open("a", encoding="utf-8") as more:
        more.write("new")
    assert log.tail() == "new"
    with path.open("a", encoding="utf-8") as more:
        more.write("x" * 3 * TAIL)
    assert len(log.tail()) == TAIL


def test_the_lock_of_a_killed_compilation_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training with DeepSpeed waited for it without end and without a word."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    stale, fresh = tmp_path / "py311" / "op" / "lock", tmp_path / "py311" / "other" / "lock"
    for lock in (stale, fresh):
        lock.parent.mkdir(parents=True)
        lock.touch()
    os.utime(stale, (time.time() - 3600,) * 2)
    remove_stale_locks()
    assert not stale.exists() and fresh.exists()


GLOO = """
import os, time
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
open(f"{os.environ['PIDS']}/{os.getpid()}", "w").close()
time.sleep(600)
"""


@pytest.mark.engine
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="sessions are of POSIX systems")
def test_the_processes_of_torchrun_end_with_it(tmp_path: Path) -> None:
    """They trained on: torchrun had put each of them into a session of its own."""
    (tmp_path / "gloo_job.py").write_text(GLOO, encoding="utf-8")
    pids = tmp_path / "pids"
    pids.mkdir()
    launch = {
        "nproc_per_node": 2,
        "nnodes": 1,
        "node_rank": 0,
        "master_addr": "127.0.0.1",
        "master_port": free_port(),
    }
    process = subprocess.Popen(
        torchrun_command(launch, ["gloo_job"]),
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PIDS": str(pids), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(pids.iterdir())) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    workers = [psutil.Process(int(path.name)) for path in pids.iterdir()]
    kill(process)
    _, alive = psutil.wait_procs(workers, timeout=10)
    for worker in alive:
        worker.kill()
    assert not alive and process.returncode == -signal.SIGKILL


@pytest.mark.engine
def test_a_restarted_worker_is_another_process_that_answers(tmp_path: Path) -> None:
    with Worker(tmp_path / "engine.log", environment={"CUDA_VISIBLE_DEVICES": ""}) as worker:
        first = worker.start()
        worker.restart()
        assert not psutil.pid_exists(first.pid)
        assert worker.start().pid != first.pid
        assert worker.request("devices", {}, lambda event: None)
