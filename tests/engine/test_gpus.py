"""A GPU that torch cannot use stops a run, or is named; it is never passed over."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine import gpus
from fine_tuning.engine.gpus import other_devices, require_usable_gpu
from fine_tuning.errors import EnvironmentProblem

DEVICES: dict[str, Any] = {
    "kind": "cuda",
    "names": ["Tesla P100", "H100"],
    "capabilities": ["6.0", "9.0"],
    "built_for": ["sm_75", "sm_90"],
    "torch": "2.11.0",
    "cuda": "13.0",
    "unusable": {"0": "CUDA error: no kernel image is available for execution on the device"},
}


def test_a_gpu_without_kernels_is_named_with_the_build_that_has_them() -> None:
    with pytest.raises(EnvironmentProblem) as refused:
        require_usable_gpu(DEVICES, use_cpu=False, hidden=False)
    error = refused.value
    assert "GPU 0 (Tesla P100): its compute capability is 6.0" in error.what
    assert "sm_75, sm_90" in error.why
    assert "--torch-backend=cu126" in error.fix and "CUDA_VISIBLE_DEVICES=1" in error.fix
    assert (
        f"--reinstall-package torchaudio torch=={version('torch').partition('+')[0]} " in error.fix
    )
    assert "constraints" not in error.fix, "which pin CUDA 13: there was no solution"
    require_usable_gpu(DEVICES, use_cpu=True, hidden=False)


def test_a_gpu_that_fails_otherwise_shows_its_own_reason() -> None:
    broken = {**DEVICES, "names": ["H100"], "capabilities": ["9.0"], "unusable": {"0": "ECC error"}}
    with pytest.raises(EnvironmentProblem) as refused:
        require_usable_gpu(broken, use_cpu=False, hidden=False)
    assert "ECC error" in refused.value.why and "--use_cpu" in refused.value.fix


def test_a_gpu_of_which_torch_knows_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "driver_gpus", lambda: ["A100, 81920 MiB, 470.57"])
    facts = {"kind": "cpu", "torch": "2.11.0", "cuda": "13.0"}
    with pytest.raises(EnvironmentProblem) as refused:
        require_usable_gpu(facts, use_cpu=False, hidden=False)
    assert "470.57" in refused.value.what and "--torch-backend=auto" in refused.value.fix
    require_usable_gpu(facts, use_cpu=False, hidden=True)


def test_devices_of_other_makers_are_found_by_their_drivers(tmp_path: Path) -> None:
    assert other_devices(tmp_path) == []
    (tmp_path / "dev").mkdir()
    for name in ("kfd", "davinci0"):
        (tmp_path / "dev" / name).touch()
    card = tmp_path / "sys" / "class" / "drm" / "card0" / "device"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x8086\n", encoding="ascii")
    assert other_devices(tmp_path) == ["an AMD GPU", "an Ascend NPU", "an Intel GPU"]
