"""What torch can compute on, tried with one kernel.

python -m fine_tuning.engine.worker.devices      the same as a line of JSON
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from fine_tuning.engine.gpus import other_devices
from fine_tuning.engine.worker.events import Events


def describe_devices(*, events: Events) -> dict[str, Any]:
    """Kind of device ("cuda", "mps", "cpu"), names, memory and what of it is free in bytes, bf16,
    versions, cores, and how memory is allocated.

    `unusable`: GPUs that torch sees but cannot compute on, with the reason. `others`: devices of
    other makers, if it sees none.

    Several GPUs are asked by a process of its own: whoever asks one keeps memory there for as long
    as it lives, and the worker lives beside the training.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() > 1:
        return _asked_elsewhere()
    return described()


@cache
def _asked_elsewhere() -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", __name__]
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def described() -> dict[str, Any]:
    """The facts, asked by this process."""
    facts: dict[str, Any] = {"kind": "cpu", "names": [], "memory": [], "free": [], "bf16": False}
    if torch.cuda.is_available():
        facts |= _gpus()
    elif torch.backends.mps.is_available():
        facts |= {"kind": "mps", "names": ["Apple GPU"], "memory": [0], "free": [0]}
    if facts["kind"] == "cpu":
        facts["others"] = other_devices()
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda or torch.version.hip}
    return {"unusable": {}, **facts, **versions, "cpus": _cores()}


def _gpus() -> dict[str, Any]:
    count = torch.cuda.device_count()
    properties = [torch.cuda.get_device_properties(i) for i in range(count)]
    reasons = {i: _failure(i) for i in range(count)}
    return {
        "kind": "cuda",
        "names": [p.name for p in properties],
        "memory": [p.total_memory for p in properties],
        "free": [0 if reasons[i] else torch.cuda.mem_get_info(i)[0] for i in range(count)],
        "bf16": all(p.major >= 8 for p in properties),
        "capabilities": [f"{p.major}.{p.minor}" for p in properties],
        "built_for": torch.cuda.get_arch_list(),
        "allocator": os.environ.get("PYTORCH_ALLOC_CONF", ""),
        "unusable": {str(i): reason for i, reason in reasons.items() if reason},
    }


def _failure(index: int) -> str:
    """Why one kernel does not run on this GPU; empty if it does."""
    try:
        total = float(torch.ones(8, device=f"cuda:{index}").mul(2).sum())
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return "" if total == 16 else f"it computes 8 x 2 = {total}"


def _cores() -> int:
    with suppress(AttributeError):  # macOS, Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    print(json.dumps(described()))
