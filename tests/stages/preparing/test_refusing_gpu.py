"""A GPU is tried before data is read, where there is one."""

from typing import Any

import pytest

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.stages.preparing import refusing
from fine_tuning.values.spec import RunSpec

BROKEN = {
    "kind": "cuda",
    "names": ["P100"],
    "capabilities": ["6.0"],
    "built_for": ["sm_75"],
    "torch": "2.11.0",
    "unusable": {"0": "no kernel image"},
}


class Asked:
    """A worker that counts what it is asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def request(self, stage: str, *_: Any) -> dict[str, Any]:
        self.requests.append(stage)
        return BROKEN


def test_nobody_waits_for_torch_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, screen = Asked(), None
    for gpus, spec in (([], RunSpec()), (["P100, 16384 MiB, 580.1"], RunSpec(use_cpu=True))):
        monkeypatch.setattr(refusing, "driver_gpus", lambda found=gpus: found)
        refuse(spec, worker, screen)
    assert not worker.requests


def test_a_gpu_that_does_not_compute_ends_the_run_before_data_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Asked()
    monkeypatch.setattr(refusing, "driver_gpus", lambda: ["P100, 16384 MiB, 580.1"])
    with pytest.raises(EnvironmentProblem, match=r"compute capability is 6\.0"):
        refuse(RunSpec(), worker, None)


def refuse(spec: RunSpec, worker: Any, screen: Any) -> None:
    refusing.refuse_gpu(spec, worker, screen)
