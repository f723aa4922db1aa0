"""The plan of a training: every choice that the user left open, shown with its reason.

`make_plan` is pure: rows, model, devices and the user's wishes in, choices and reasons out.
"""

from collections.abc import Mapping
from typing import Any

from fine_tuning.engine.defects import met
from fine_tuning.engine.gpus import FITTING_BUILD, install_torch
from fine_tuning.engine.plan.choose import alpha, choose
from fine_tuning.engine.plan.covering import coverage_table, coverage_warnings
from fine_tuning.engine.plan.duration import duration_warnings
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.engine.trainers import trainer_of
from fine_tuning.units import counted
from fine_tuning.values.plan import Chosen, Places, Plan, Rows
from fine_tuning.values.shown import Choice, Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tokens import TokenLook

# What holds if nobody says anything; the rest of the table is chosen for this run.
DEFAULTS = ("method", "quantization", "lora_rank", "lora_alpha", "epochs", "seed")


def make_plan(
    spec: RunSpec,
    *,
    sources: Mapping[str, Source],
    rows: Rows,
    look: TokenLook,
    devices: Mapping[str, Any],
    places: Places,
) -> Plan:
    """Resolve everything. `look` is the worker's look at the tokens, `devices` its devices.

    Raises UsageError for what the trainer of this method cannot do.
    """
    chosen, step = choose(spec, rows, look, devices)
    made = trainer_of(chosen.method, rows.stage).settings(spec, chosen, rows, look, places)
    return Plan(
        chosen=chosen,
        rows=rows,
        gpus=len(devices["names"]),
        choices=_shown(_table(spec, chosen, step, rows, look, devices, made.all), spec, sources),
        warnings=(
            *_device_warnings(spec, devices),
            *chosen.warnings,
            *coverage_warnings(look.model, step),
            *_serving_warnings(chosen),
            *_context_warnings(chosen, look),
            *duration_warnings(chosen, rows, look, devices),
        ),
    )


def _table(
    spec: RunSpec,
    chosen: Chosen,
    step: Step,
    rows: Rows,
    look: TokenLook,
    devices: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, tuple[Any, str]]:
    """Name, value and reason of what is shown before the run."""
    table: dict[str, tuple[Any, str]] = {
        "template": (look.template.name or "(the model's own)", look.template.reason),
        "max_seq_length": (chosen.cutoff, ""),
        "stage": (rows.stage, f"fits {rows.kind} data"),
        "method": (spec.method, ""),
        "quantization": (chosen.quantization, ""),
        "precision": (chosen.precision, ""),
        "device": (_device_text(chosen, devices), _device_reason(spec, chosen, devices)),
        "batch_size": (chosen.batch, ""),
        "gradient_accumulation_steps": (chosen.accumulation, ""),
        "optim": (chosen.optimizer, ""),
        "learning_rate": (chosen.rate, ""),
        "epochs": _epochs(spec, chosen),
        "logging_steps": (settings["logging_steps"], "steps between two losses"),
        "save_steps": (settings["save_steps"], _kept(settings)),
        "eval_steps": (settings.get("eval_steps", "none"), _evaluated(rows, settings)),
        "seed": (spec.seed, ""),
        "validation": (rows.validation, f"rows held out of {rows.train + rows.validation}"),
    }
    if devices.get("allocator"):
        table["allocator"] = (devices["allocator"], _allocated(devices["allocator"]))
    table |= {decision.name: (decision.value, decision.why) for decision in chosen.decided}
    found = ", ".join(it.name for it in met(settings))
    if found:
        table["engine_defects"] = (found, "docs/engine-defects.md says what is done")
    table |= coverage_table(look.model, step)
    if METHODS[chosen.method].soft_prompt:
        table["num_virtual_tokens"] = (
            spec.num_virtual_tokens,
            "before each row, all that is trained",
        )
    if METHODS[chosen.method].has_rank:
        table["lora_rank"] = (spec.lora_rank, "")
        why = "" if spec.lora_alpha is not None else "twice the rank"
        table["lora_alpha"] = (alpha(spec), why)
    return {name: (value, why or chosen.why.get(name, "")) for name, (value, why) in table.items()}


def _epochs(spec: RunSpec, chosen: Chosen) -> tuple[float, str]:
    by_steps = spec.engine_args.get("max_steps", -1) > 0
    epochs = round(chosen.steps / chosen.per_epoch, 2) if by_steps else spec.epochs
    return epochs, counted(chosen.steps, "step")


def _kept(settings: Mapping[str, Any]) -> str:
    limit = settings.get("save_total_limit")
    return f"the last {limit} checkpoints are kept" if limit else "every checkpoint is kept"


def _evaluated(rows: Rows, settings: Mapping[str, Any]) -> str:
    if settings.get("eval_strategy", "no") == "no":
        return "no evaluation during training"
    return f"loss of {rows.validation} held-out rows"


def _device_reason(spec: RunSpec, chosen: Chosen, devices: Mapping[str, Any]) -> str:
    if chosen.device_type != "cpu":
        return "all GPUs are used" if spec.nproc_per_node is None and chosen.world > 1 else ""
    if spec.use_cpu:
        return "--use_cpu"
    others = " and ".join(devices.get("others", ()))
    return f"this build of torch cannot use {others}" if others else "there is no GPU"


def _device_warnings(spec: RunSpec, devices: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the CPU trains beside a device of another maker than the usual torch is built for."""
    others = " and ".join(devices.get("others", ()))
    if not others or spec.use_cpu:
        return ()
    return (
        f"there is {others}, which this build of torch cannot use; "
        f"{install_torch(FITTING_BUILD)} takes one that can, where there is one",
    )


def _allocated(how: str) -> str:
    return "less memory is lost between blocks" if "expandable_segments:True" in how else ""


def _device_text(chosen: Chosen, devices: Mapping[str, Any]) -> str:
    if chosen.device_type == "cpu":
        return "CPU" if chosen.world == 1 else f"CPU, {chosen.world} processes"
    name = devices["names"][0] if devices["names"] else chosen.device_type
    return f"{chosen.world} x {name}"


def _serving_warnings(chosen: Chosen) -> tuple[str, ...]:
    if METHODS[chosen.method].mergeable:
        return ()
    return (
        f"--method {chosen.method} trains virtual tokens: they cannot be merged, and vLLM, "
        "llama.cpp and Ollama do not serve them; PEFT loads them beside the base model",
    )


def _context_warnings(chosen: Chosen, look: TokenLook) -> tuple[str, ...]:
    context = look.context
    if context is None or chosen.cutoff <= context:
        return ()
    return (f"--max_seq_length {chosen.cutoff} is above the model's context of {context} tokens",)


def _shown(
    table: Mapping[str, tuple[Any, str]], spec: RunSpec, sources: Mapping[str, Source]
) -> tuple[Choice, ...]:
    """The table with who set each value, and below it what is passed through."""
    chosen = [
        Choice(
            name, str(value), why, sources.get(name, "default" if name in DEFAULTS else "chosen")
        )
        for name, (value, why) in table.items()
    ]
    passed = [
        Choice(name, str(value), "", sources.get(name, "you"))
        for name, value in spec.engine_args.items()
        if name not in table
    ]
    return (*chosen, *passed)
