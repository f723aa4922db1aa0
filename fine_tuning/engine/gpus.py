"""GPUs as the driver sees them, without torch: to notice one that torch cannot use."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from fine_tuning.errors import EnvironmentProblem


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


def require_usable_gpu(devices: Mapping[str, Any], use_cpu: bool, hidden: bool) -> None:
    """Raise EnvironmentProblem if there is a GPU that torch cannot use.

    Training on the CPU instead would take days without a word. `hidden` says that the user hides
    the GPUs (CUDA_VISIBLE_DEVICES is set to nothing).
    """
    if use_cpu or hidden or devices["kind"] != "cpu":
        return
    gpus = driver_gpus()
    if gpus:
        raise EnvironmentProblem(
            f"There is a GPU ({gpus[0]}), but torch {devices['torch']} cannot use it.",
            why=f"torch was built for CUDA {devices['cuda'] or '(none: a CPU build)'}; the driver "
            "is too old for it or the build has no CUDA",
            fix="update the driver, or install the torch build for it; --use_cpu trains on the CPU",
        )
