"""What torch can compute on."""

from typing import Any

import torch

from fine_tuning.engine.worker.events import Events


def describe_devices(*, events: Events) -> dict[str, Any]:
    """Kind of device ("cuda", "mps", "cpu"), their names, memory in bytes, bf16, versions."""
    if torch.cuda.is_available():
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        kind = "cuda"
        names = [p.name for p in properties]
        memory = [p.total_memory for p in properties]
        bf16 = all(p.major >= 8 for p in properties)
    elif torch.backends.mps.is_available():
        kind, names, memory, bf16 = "mps", ["Apple GPU"], [0], False
    else:
        kind, names, memory, bf16 = "cpu", [], [], False
    return {
        "kind": kind,
        "names": names,
        "memory": memory,
        "bf16": bf16,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
