"""What several processes need, and how many there can be."""

from collections.abc import Iterator, Mapping
from typing import Any

from fine_tuning.errors import UsageError
from fine_tuning.units import counted
from fine_tuning.values.plan import Decision

WITHOUT_HEAD = "a reward model trains no head, whose gradients the processes would wait for"


def across(stage: str, method: str, given: Mapping[str, Any], world: int) -> Iterator[Decision]:
    """How DistributedDataParallel finds the gradients to wait for.

    Transformers lets it look for weights without a gradient in each step, unless it knows of
    gradient checkpointing, which looks like a second use of each weight; LLaMA-Factory says so for
    LoRA only. Only a whole reward model has such weights: those of the head that it does not use.
    """
    if world == 1 or given.get("deepspeed") or given.get("fsdp"):
        return
    unused = stage == "rm" and method in ("full", "freeze")
    if "ddp_find_unused_parameters" not in given:
        why = WITHOUT_HEAD if unused else "every trained weight has a gradient in each step"
        yield Decision("ddp_find_unused_parameters", unused, why)
    if unused and "use_reentrant_gc" not in given:
        yield Decision("use_reentrant_gc", False, "the other way uses each weight twice")


def require_devices(processes: int, devices: Mapping[str, Any]) -> None:
    """Raise UsageError for a training on more GPUs than there are: no two of its processes can
    share one (NCCL)."""
    gpus = len(devices["names"]) if devices["kind"] == "cuda" else 0
    if not gpus:
        raise UsageError(
            f"This training has begun on {counted(processes, 'GPU')}, and this machine has none.",
            fix="go on where a GPU is, or start anew here with --restart",
        )
    if processes > gpus:
        raise UsageError(
            f"{processes} processes need as many GPUs, and this machine has {gpus}.",
            fix=f"take --nproc_per_node {gpus}, or leave it out: all GPUs are used then; a run "
            "that has begun goes on with as many as before, or anew with --restart",
        )
