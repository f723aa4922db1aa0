"""The environment of the worker: what it may ask of a hub, and which devices it sees."""

import os

from fine_tuning.hubs import on_openmind
from fine_tuning.values.spec import RunSpec

# With these the worker asks a hub by itself; else it has all that it needs (engine/model_hub.py).
NEED_A_HUB = {
    "push_to_hub",
    "ref_model",
    "reward_model",
    "adapter_name_or_path",
    "trust_remote_code",  # the code may lie in another repository
}


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
    processes = spec.nproc_per_node or 1
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return found
