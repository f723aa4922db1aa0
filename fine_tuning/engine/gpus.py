"""GPUs as the system sees them, without torch: to notice those that torch cannot use."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.importing import installed_version

# The builds of torch for CUDA 13 begin with this compute capability; those for 12.6 with 5.0.
LEAST_CAPABILITY = (7, 5)
OLD_BUILD, FITTING_BUILD = "cu126", "auto"
TORCH = ("torch", "torchvision", "torchaudio")  # of one build
# Device files of drivers for which the usual torch is not built.
OTHER_DRIVERS = {"dev/kfd": "an AMD GPU", "dev/davinci0": "an Ascend NPU"}
INTEL = "0x8086"  # its number among makers of PCI devices
DISPLAYS = "sys/class/drm/card[0-9]*/device/vendor"


def driver_gpus() -> list[str]:
    """`name, memory, driver version` of each NVIDIA GPU; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if "," in line]


def gpus_are_hidden() -> bool:
    """Whether the user hides all GPUs from CUDA."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def other_devices(root: Path = Path("/")) -> list[str]:
    """Devices of other makers that have a driver here, by its files below `root` (Linux)."""
    found = [name for path, name in OTHER_DRIVERS.items() if (root / path).exists()]
    makers = {path.read_text(encoding="ascii").strip() for path in root.glob(DISPLAYS)}
    return [*found, *(["an Intel GPU"] if INTEL in makers else [])]


def install_torch(build: str) -> str:
    """The commands that put another build of the installed torch into this environment.

    What else it needs follows from the build: constraints.txt pins the CUDA of the usual one.
    """
    again = " ".join(f"--reinstall-package {name}" for name in TORCH)
    found = {name: installed_version(name) for name in TORCH}  # of any build
    same = " ".join(
        f"{name}=={version.partition('+')[0]}" if version else name
        for name, version in found.items()
    )
    place = f"--python {shlex.quote(sys.executable)}"
    return f"`pip install uv`, then `uv pip install {place} --torch-backend={build} {again} {same}`"


def require_usable_gpu(devices: Mapping[str, Any], use_cpu: bool, hidden: bool) -> None:
    """Raise EnvironmentProblem if there is a GPU that torch cannot use.

    Training on the CPU instead would take days without a word. `hidden` says that the user hides
    the GPUs (CUDA_VISIBLE_DEVICES is set to nothing).
    """
    if use_cpu or hidden:
        return
    for index, reason in devices.get("unusable", {}).items():
        raise _unusable(devices, int(index), reason)
    gpus = driver_gpus() if devices["kind"] == "cpu" else []
    if gpus:
        raise EnvironmentProblem(
            f"There is a GPU ({gpus[0]}), but torch {devices['torch']} cannot use it.",
            why=f"torch was built for CUDA {devices['cuda'] or '(none: a CPU build)'}; the driver "
            "is too old for it or the build has no CUDA",
            fix=f"update the driver, or install the build that fits it: "
            f"{install_torch(FITTING_BUILD)}; --use_cpu trains on the CPU",
        )


def _unusable(devices: Mapping[str, Any], index: int, reason: str) -> EnvironmentProblem:
    """A GPU on which one kernel did not run."""
    capability = devices["capabilities"][index]
    what = f"torch {devices['torch']} cannot compute on GPU {index} ({devices['names'][index]})"
    others = ",".join(
        str(i) for i in range(len(devices["names"])) if str(i) not in devices["unusable"]
    )
    around = f"CUDA_VISIBLE_DEVICES={others} leaves it out" if others else "--use_cpu does without"
    if tuple(map(int, capability.split("."))) < LEAST_CAPABILITY:
        return EnvironmentProblem(
            f"{what}: its compute capability is {capability}.",
            why=f"this build has kernels for {', '.join(devices['built_for'])}",
            fix=f"install the build for older GPUs: {install_torch(OLD_BUILD)}; {around}",
        )
    return EnvironmentProblem(
        f"{what}.",
        why=f"one kernel was tried: {reason}",
        fix=f"look at `nvidia-smi` for what else uses it, or restart the driver; {around}",
    )
