"""The devices as torch sees them, each tried with one kernel."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.commands import ROOT

pytestmark = pytest.mark.engine


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that sees two, of which the second cannot compute."""
    import torch

    ones = torch.ones

    def made(size: int, device: str) -> Any:
        if device == "cuda:1":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return ones(size)

    properties = SimpleNamespace(name="GPU", total_memory=100, major=6, minor=1)
    monkeypatch.setattr(torch, "ones", made)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (60, 100))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75"])


def test_a_gpu_that_does_not_compute_is_found_by_trying(two_gpus: None) -> None:
    from fine_tuning.engine.worker.devices import described

    facts = described()
    assert (facts["memory"], facts["free"]) == ([100, 100], [60, 0])
    assert facts["unusable"] == {"1": "CUDA error: no kernel image is available"}
    assert facts["capabilities"] == ["6.1", "6.1"] and facts["bf16"] is False


def test_several_gpus_are_asked_by_a_process_that_ends(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker kept memory on every GPU, beside the processes of the training."""
    from fine_tuning.engine.worker.devices import describe_devices

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    events: Any = None  # nothing is said
    facts = describe_devices(events=events)
    assert facts["torch"] and facts["cpus"] >= 1
    assert facts["names"] != ["GPU", "GPU"], "this process was asked"
