"""What the user left open: each decision with its reason."""

import math
from collections.abc import Mapping
from typing import Any

from fine_tuning.engine.plan.groups import Grouping, answer_length, grouping, sampling
from fine_tuning.engine.plan.memory.fitting import BATCHES, Fitted, fit, require_fit
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.engine.plan.on_gpu import on_gpu
from fine_tuning.engine.plan.processes import across, require_devices
from fine_tuning.units import counted
from fine_tuning.values.plan import GIB, Chosen, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import ModelFacts, TokenLook

EFFECTIVE_BATCH = 16  # rows per update, as QLoRA's (arXiv:2305.14314, table 9)
# With fewer updates an epoch, a small dataset teaches little: the demo's 329 rows need them.
LEAST_STEPS_PER_EPOCH = 40
# Rates for adapters grow as models shrink; one as small as the demo model needs much more
# (docs/demo-model.md has the scores).
TINY_MODEL, TINY_RATE = 20_000_000, 4e-3
NO_ESTIMATE = "no memory estimate with DeepSpeed or FSDP"


def choose(
    spec: RunSpec, rows: Rows, look: TokenLook, devices: Mapping[str, Any]
) -> tuple[Chosen, Step]:
    """Decide everything; with the step that the memory is estimated of.

    `look` is the worker's look at the tokens, `devices` its devices.
    """
    device_type = "cpu" if spec.use_cpu else str(devices["kind"])
    there = max(1, len(devices["names"])) if device_type == "cuda" else 1
    processes = spec.nproc_per_node or there
    world = processes * spec.nnodes
    if device_type == "cuda":
        require_devices(processes, devices)
    quantization, method = spec.quantization, spec.method
    precision, precision_why = _precision(device_type, bool(devices["bf16"]), spec.engine_args)
    optimizer, optimizer_why = _optimizer(device_type, spec.engine_args)
    groups = grouping(spec, rows, world) if OBJECTIVES[rows.stage].online else None
    units = rows.train * groups.group if groups else rows.blocks(rows.train, look.cutoff)
    length = look.cutoff + (answer_length(spec, look) if groups else 0)

    def step_of(batch: int) -> Step:
        return Step(
            method=method,
            stage=rows.stage,
            quantization=quantization,
            rank=spec.lora_rank,
            virtual_tokens=spec.num_virtual_tokens,
            targeted=spec.target_parameters,
            batch=batch,
            length=length,
            half=precision != "fp32",
            accumulation=_accumulation(spec, units, batch, world, groups)[0],
            checkpointing=METHODS[method].checkpoints
            and not spec.engine_args.get("disable_gradient_checkpointing"),
            optimizer=optimizer,
            processes=world,
            given=spec.engine_args,
        )

    fitted = fit(
        look.model,
        step_of,
        _batches(spec, groups.answers * LEAST_STEPS_PER_EPOCH if groups else units, world),
        free=free_memory(devices, processes) if device_type == "cuda" else None,
        may_keep_activations="disable_gradient_checkpointing" not in spec.engine_args,
    )
    batch, batch_why = fitted.step.batch, _batch_reason(spec, device_type, fitted, units)
    accumulation, accumulation_why = _accumulation(spec, units, batch, world, groups)
    per_epoch = math.ceil(units / (batch * world * accumulation))
    per_epoch = max(1, groups.updates(batch, accumulation) if groups else per_epoch)
    steps = _steps(spec, per_epoch)
    rate, rate_why = _learning_rate(spec, rows.stage, method, look.model)
    chosen = Chosen(
        device_type=device_type,
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
        memory=fitted.plans.get(batch),
        warnings=require_fit(look.model, fitted, devices),
        decided=(
            *(on_gpu(fitted.step, rows, look, devices) if device_type == "cuda" else ()),
            *across(rows.stage, method, spec.engine_args, world),
            *(sampling(spec, rows, look) if groups else ()),
        ),
        why={
            "max_seq_length": _cutoff_reason(look),
            "precision": precision_why,
            "optim": optimizer_why,
            "batch_size": batch_why,
            "gradient_accumulation_steps": accumulation_why,
            "learning_rate": rate_why,
        },
    )
    return chosen, fitted.step


def alpha(spec: RunSpec) -> int:
    """The scale of the adapter: as given, else twice the rank."""
    return spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank


def splits_the_model(spec: RunSpec) -> bool:
    """Whether an engine spreads weights, gradients or optimizer states over the devices.

    How much of them, and what moves to the CPU, stands in a configuration of its own.
    """
    return bool(spec.engine_args.get("deepspeed") or spec.engine_args.get("fsdp"))


def _precision(device_type: str, bf16: bool, given: Mapping[str, Any]) -> tuple[str, str]:
    for name in ("bf16", "fp16", "pure_bf16"):
        if given.get(name):
            return name, ""
    if device_type == "cpu":
        return "fp32", "a CPU computes float32 fastest"
    if device_type != "cuda":
        return "fp32", ""
    chosen, why = ("bf16", "the GPU has bfloat16") if bf16 else ("fp16", "the GPU has no bfloat16")
    return (chosen, why) if given.get(chosen) is None else ("fp32", f"--{chosen} false")


def _optimizer(device_type: str, given: Mapping[str, Any]) -> tuple[str, str]:
    if "optim" in given:
        return str(given["optim"]), ""
    if device_type == "cuda" and not (given.get("deepspeed") or given.get("fsdp")):
        return "adamw_torch_fused", "a GPU updates all weights in one kernel"
    return "adamw_torch", "AdamW"


def free_memory(devices: Mapping[str, Any], processes: int) -> float:
    """Bytes that are free on the one of the used GPUs that has the fewest."""
    return float(min((devices.get("free") or devices["memory"])[:processes]))


def _batches(spec: RunSpec, train_rows: int, world: int) -> tuple[int, ...]:
    """Batches to choose from. An epoch has enough steps with each, and no update more rows than
    EFFECTIVE_BATCH."""
    if spec.batch_size:
        return (spec.batch_size,)
    most = min(EFFECTIVE_BATCH, train_rows // LEAST_STEPS_PER_EPOCH) // world
    return tuple(batch for batch in BATCHES if batch <= max(1, most))


def _batch_reason(spec: RunSpec, device_type: str, fitted: Fitted, train_rows: int) -> str:
    if spec.batch_size:
        return ""
    plan = fitted.plans.get(fitted.step.batch)
    if device_type == "cuda" and plan is not None and fitted.free is not None:
        return f"needs about {plan.total / GIB:.1f} of {fitted.free / GIB:.1f} GiB that are free"
    unknown = f"; {NO_ESTIMATE}" if device_type == "cuda" and splits_the_model(spec) else ""
    return f"suits {counted(train_rows, 'row')}{unknown}"


def _accumulation(
    spec: RunSpec, train_rows: int, batch: int, world: int, groups: Grouping | None
) -> tuple[int, str]:
    if "gradient_accumulation_steps" in spec.engine_args:
        return int(spec.engine_args["gradient_accumulation_steps"]), ""
    if groups:
        steps = groups.accumulation(batch)
        answers = steps * batch * world
        prompts = counted(answers // groups.group, "prompt")
        return steps, f"{answers} answers per update, {groups.group} to each of {prompts}"
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
    objective, known = OBJECTIVES[stage], METHODS[method]
    if known.rate is not None:
        return known.rate, f"usual for {method}"
    tiny = model is not None and model.parameters < TINY_MODEL
    if tiny and known.makes_adapter and objective.fits_small_models:
        return TINY_RATE, f"usual for {method} {stage} of so small a model"
    return objective.rate(known.leaves), f"usual for {method} {stage}"


def _cutoff_reason(look: TokenLook) -> str:
    over = len(look.overlong)
    if over:
        return (
            f"the longest row has {look.longest:,} tokens; "
            f"{counted(over, 'row is', 'rows are')} longer than this"
        )
    return f"the longest row has {look.longest:,} tokens"
