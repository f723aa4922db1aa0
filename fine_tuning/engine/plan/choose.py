"""What the user left open: each decision with its reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fine_tuning.engine.plan.memory import estimate, largest_batch
from fine_tuning.units import counted
from fine_tuning.values.kinds import KINDS
from fine_tuning.values.methods import METHODS
from fine_tuning.values.objectives import OBJECTIVES
from fine_tuning.values.plan import GIB, MemoryPlan, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import ModelFacts, TokenLook

EFFECTIVE_BATCH = 16
LEAST_STEPS_PER_EPOCH = 40
# Rates for adapters grow as models shrink; one as small as the demo model needs much more.
TINY_MODEL, TINY_RATE = 20_000_000, 4e-3
NO_ESTIMATE = "no memory estimate with DeepSpeed or FSDP"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Every decision. `why` holds the reasons, by the names of the table that is shown."""

    kind: str
    processes: int
    world: int
    method: str
    quantization: str
    precision: str
    optimizer: str
    cutoff: int
    batch: int
    accumulation: int
    rate: float
    per_epoch: int
    steps: int
    memory: Mapping[int, MemoryPlan]
    why: Mapping[str, str]


def choose(spec: RunSpec, rows: Rows, look: TokenLook, devices: Mapping[str, Any]) -> Chosen:
    """Decide everything. `look` is the worker's look at the tokens, `devices` its devices."""
    kind = "cpu" if spec.use_cpu else str(devices["kind"])
    processes = spec.nproc_per_node or (max(1, len(devices["names"])) if kind == "cuda" else 1)
    world = processes * spec.nnodes
    quantization, method = spec.quantization, spec.method
    precision, precision_why = _precision(kind, bool(devices["bf16"]), spec.engine_args)
    optimizer, optimizer_why = _optimizer(kind, spec.engine_args)
    memory = _memory_by_batch(
        look.model, look.cutoff, method, quantization, spec, precision, KINDS[rows.kind].is_pair
    )
    units = rows.blocks(rows.train, look.cutoff)
    batch, batch_why = _batch_size(spec, kind, devices, memory, units, world)
    accumulation, accumulation_why = _accumulation(spec, units, batch, world)
    per_epoch = max(1, math.ceil(units / (batch * world * accumulation)))
    steps = _steps(spec, per_epoch)
    rate, rate_why = _learning_rate(spec, rows.stage, method, look.model)
    return Chosen(
        kind=kind,
        processes=processes,
        world=world,
        method=method,
        quantization=quantization,
        precision=precision,
        optimizer=optimizer,
        cutoff=look.cutoff,
        batch=batch,
        accumulation=accumulation,
        rate=rate,
        per_epoch=per_epoch,
        steps=steps,
        memory=memory,
        why={
            "max_seq_length": _cutoff_reason(look),
            "precision": precision_why,
            "optim": optimizer_why,
            "batch_size": batch_why,
            "gradient_accumulation_steps": accumulation_why,
            "learning_rate": rate_why,
        },
    )


def alpha(spec: RunSpec) -> int:
    """The scale of the adapter: as given, else twice the rank."""
    return spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank


def splits_the_model(spec: RunSpec) -> bool:
    """Whether an engine spreads weights, gradients or optimizer states over the devices.

    How much of them, and what moves to the CPU, stands in a configuration of its own.
    """
    return bool(spec.engine_args.get("deepspeed") or spec.engine_args.get("fsdp"))


def _precision(kind: str, bf16: bool, given: Mapping[str, Any]) -> tuple[str, str]:
    for name in ("bf16", "fp16", "pure_bf16"):
        if given.get(name):
            return name, ""
    if kind == "cpu":
        return "fp32", "a CPU computes float32 fastest"
    if kind != "cuda":
        return "fp32", ""
    chosen, why = ("bf16", "the GPU has bfloat16") if bf16 else ("fp16", "the GPU has no bfloat16")
    return (chosen, why) if given.get(chosen) is None else ("fp32", f"--{chosen} false")


def _optimizer(kind: str, given: Mapping[str, Any]) -> tuple[str, str]:
    if "optim" in given:
        return str(given["optim"]), ""
    if kind == "cuda" and not (given.get("deepspeed") or given.get("fsdp")):
        return "adamw_torch_fused", "a GPU updates all weights in one kernel"
    return "adamw_torch", "AdamW"


def _memory_by_batch(
    model: ModelFacts | None,
    cutoff: int,
    method: str,
    quantization: str,
    spec: RunSpec,
    precision: str,
    pairs: bool,
) -> dict[int, MemoryPlan]:
    if model is None or splits_the_model(spec):
        return {}
    batches = {1, 2, 4, 8} | ({spec.batch_size} if spec.batch_size else set())
    return {
        batch: estimate(
            model,
            batch_size=batch,
            cutoff=cutoff,
            method=method,
            quantization=quantization,
            rank=spec.lora_rank,
            half_precision=precision != "fp32",
            pairs=pairs,
        )
        for batch in batches
    }


def _batch_size(
    spec: RunSpec,
    kind: str,
    devices: Mapping[str, Any],
    memory: Mapping[int, MemoryPlan],
    train_rows: int,
    world: int,
) -> tuple[int, str]:
    if spec.batch_size:
        return spec.batch_size, ""
    share = max(1, train_rows // (world * LEAST_STEPS_PER_EPOCH))
    wanted = next(batch for batch in (8, 4, 2, 1) if batch <= share or batch == 1)
    if kind == "cuda" and memory:
        fits = largest_batch(memory, min(devices["memory"]))
        return min(wanted, fits), f"needs about {memory[min(wanted, fits)].total / GIB:.1f} GiB"
    if kind == "cuda" and splits_the_model(spec):
        return wanted, f"suits {counted(train_rows, 'row')}; {NO_ESTIMATE}"
    return wanted, f"suits {counted(train_rows, 'row')}"


def _accumulation(spec: RunSpec, train_rows: int, batch: int, world: int) -> tuple[int, str]:
    if "gradient_accumulation_steps" in spec.engine_args:
        return int(spec.engine_args["gradient_accumulation_steps"]), ""
    enough_steps = max(1, train_rows // LEAST_STEPS_PER_EPOCH)
    effective = min(EFFECTIVE_BATCH, enough_steps)
    steps = max(1, effective // (batch * world))
    return steps, f"{counted(steps * batch * world, 'row')} per update"


def _steps(spec: RunSpec, per_epoch: int) -> int:
    given = spec.engine_args.get("max_steps")
    if given and int(given) > 0:
        return int(given)
    return max(1, math.ceil(per_epoch * spec.epochs))


def _learning_rate(
    spec: RunSpec, stage: str, method: str, model: ModelFacts | None
) -> tuple[float, str]:
    if spec.learning_rate is not None:
        return spec.learning_rate, ""
    objective, leaves = OBJECTIVES[stage], METHODS[method].leaves
    tiny = model is not None and model.parameters < TINY_MODEL
    if tiny and leaves == "adapter" and objective.fits_small_models:
        return TINY_RATE, f"usual for {method} {stage} of so small a model"
    return objective.rate(leaves), f"usual for {method} {stage}"


def _cutoff_reason(look: TokenLook) -> str:
    over = len(look.overlong)
    if over:
        return (
            f"the longest row has {look.longest:,} tokens; "
            f"{counted(over, 'row is', 'rows are')} longer than this"
        )
    return f"the longest row has {look.longest:,} tokens"
