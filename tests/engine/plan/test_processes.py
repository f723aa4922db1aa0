"""Several processes: how they wait for gradients, and how many there can be."""

from typing import Any

import pytest

from fine_tuning.engine.plan.processes import across, require_devices
from fine_tuning.errors import UsageError


def settings(stage: str, method: str, world: int = 2, **given: Any) -> dict[str, Any]:
    return {found.name: found.value for found in across(stage, method, given, world)}


def test_weights_without_a_gradient_are_looked_for_only_where_there_are_some() -> None:
    """oft, and rm with full, ended with "Expected to mark a variable ready only once"."""
    assert settings("sft", "oft") == {"ddp_find_unused_parameters": False}
    assert settings("rm", "lora") == {"ddp_find_unused_parameters": False}
    whole = {"ddp_find_unused_parameters": True, "use_reentrant_gc": False}
    assert settings("rm", "full") == settings("rm", "freeze") == whole
    assert settings("sft", "oft", world=1) == {}
    assert settings("sft", "oft", deepspeed="x") == {}
    assert settings("rm", "full", ddp_find_unused_parameters=False, use_reentrant_gc=True) == {}


def test_more_processes_than_gpus_are_refused_with_both_numbers() -> None:
    devices = {"kind": "cuda", "names": ["H100", "H100"]}
    with pytest.raises(UsageError, match=r"4 processes need as many GPUs, .* has 2") as refused:
        require_devices(4, devices)
    assert "--nproc_per_node 2" in refused.value.fix
    require_devices(2, devices)
    with pytest.raises(UsageError, match="begun on 1 GPU, and this machine has none"):
        require_devices(1, {"kind": "cpu", "names": []})
