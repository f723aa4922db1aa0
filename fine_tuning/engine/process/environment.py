"""The environment of the worker: what it may ask of a hub, and which devices it sees."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.hubs.sites import on_openmind
from fine_tuning.values.spec import RunSpec

# With these the worker asks a hub by itself; else it has all that it needs (engine/models/hub.py).
NEED_A_HUB = {
    "push_to_hub",
    "ref_model",
    "reward_model",
    "adapter_name_or_path",
    "trust_remote_code",  # the code may lie in another repository
}

ALLOCATORS = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"}


def environment(spec: RunSpec) -> dict[str, str]:
    """Environment of the worker: no hub requests, no GPU with --use_cpu."""
    found: dict[str, str] = {}
    if not NEED_A_HUB & set(spec.engine_args) and not on_openmind():
        found["HF_HUB_OFFLINE"] = "1"
    if spec.use_cpu:
        found["CUDA_VISIBLE_DEVICES"] = ""
    elif spec.nproc_per_node == 1 and spec.nnodes == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0] if visible is not None else "0"
    if sys.platform == "linux" and not spec.use_cpu and not ALLOCATORS & set(os.environ):
        found["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # less is lost between blocks
    return found


def training_environment(
    spec: RunSpec, processes: int, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Environment of the processes of a training: their share of the cores, and what Accelerate's
    launcher would say of FSDP, by which a model is loaded (transformers/integrations/fsdp.py)."""
    found = environment(spec)
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    if settings.get("fsdp"):
        found["ACCELERATE_USE_FSDP"] = "true"
        config = settings.get("fsdp_config")  # a table or a JSON file
        if isinstance(config, str) and Path(config).is_file():
            config = json.loads(Path(config).read_text(encoding="utf-8"))
        table = config if isinstance(config, Mapping) else {}
        found["FSDP_VERSION"] = str(table.get("version", table.get("fsdp_version", 1)))
    return found
