"""Of several processes the one that fails says why; the others only know that it has gone."""

import subprocess
from pathlib import Path

import pytest

from fine_tuning.engine.process.launch import (
    answer_of,
    free_port,
    log_from_here,
    start_process,
    torchrun_command,
)
from fine_tuning.errors import EngineError

pytestmark = pytest.mark.engine

# Rank 1 fails in its own way, while rank 0 waits for it as it would in a step.
RANKS = """
import os, signal, sys, time
from pathlib import Path
from fine_tuning.engine.worker.__main__ import answer
from fine_tuning.engine.worker.events import Events, divert_output
from fine_tuning.engine.worker import stages
from fine_tuning.errors import EngineError

def work(*, events):
    if os.environ["RANK"] == "0":
        time.sleep(120)
    if os.environ["HOW"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise EngineError("The rows of rank 1 are wrong.", why="planted", fix="mend them")

stages.STAGES = {"train": work}
events = Events(divert_output(Path(os.environ["LOG"])))
sys.exit(0 if answer({"stage": "train", "args": {}}, events) else 1)
"""


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("killed", "The machine ran out of memory."),
        ("raised", "The rows of rank 1 are wrong."),
    ],
)
def test_the_failure_of_any_rank_is_told_in_our_words(
    how: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rank 0 was heard; what rank 1 died of stood in the log."""
    (tmp_path / "ranks_job.py").write_text(RANKS, encoding="utf-8")
    place = {"nproc_per_node": 2, "nnodes": 1, "node_rank": 0, "master_addr": "127.0.0.1"}
    log = tmp_path / "engine.log"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard = log_from_here(log)
    process = start_process(
        torchrun_command({**place, "master_port": free_port()}, ["ranks_job"]),
        log,
        {"LOG": str(log), "HOW": how, "OMP_NUM_THREADS": "1"},
    )
    with pytest.raises(EngineError) as stopped:
        answer_of(process, heard, lambda event: None, None)
    assert stopped.value.what == what
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
