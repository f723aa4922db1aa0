"""The worker process, from outside."""

from pathlib import Path

import psutil
import pytest

from fine_tuning.engine.launch import Worker

pytestmark = pytest.mark.engine


def test_a_restarted_worker_is_another_process_that_answers(tmp_path: Path) -> None:
    with Worker(tmp_path / "engine.log", environment={"CUDA_VISIBLE_DEVICES": ""}) as worker:
        first = worker.start()
        worker.restart()
        assert not psutil.pid_exists(first.pid)
        assert worker.start().pid != first.pid
        assert worker.request("devices", {}, lambda event: None)
