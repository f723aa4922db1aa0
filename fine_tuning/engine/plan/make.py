"""The plan of a training: every choice that the user left open, shown with its reason.

`make_plan` is pure: rows, model, devices and the user's wishes in, choices and reasons out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fine_tuning.engine.defects import met
from fine_tuning.engine.gpus import FITTING_BUILD, install_torch
from fine_tuning.engine.plan.choose import alpha, choose
from fine_tuning.engine.plan.covering import coverage_table, coverage_warnings
from fine_tuning.engine.plan.duration import duration_warnings
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.engine.trainers import trainer_of
from fine_tuning.units import bytes_text, counted
from fine_tuning.values.plan import Chosen, Places, Plan, Rows
from fine_tuning.values.shown import Choice, Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tokens import TokenLook

WORTH_SAYING = 10**9  # bytes of a checkpoint
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
            *_warnings(spec, chosen, look, step, devices),
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
        "device": _device(spec, chosen, devices),
        "batch_size": (chosen.batch, ""),
        "gradient_accumulation_steps": (chosen.accumulation, ""),
        "optim": (chosen.optimizer, ""),
        "learning_rate": (chosen.rate, ""),
        **_rhythm(spec, chosen, rows, settings),
        "seed": (spec.seed, ""),
        "validation": (rows.validation, f"rows held out of {rows.train + rows.validation}"),
    }
    if devices.get("allocator"):
        expands = "expandable_segments:True" in devices["allocator"]
        why = "less memory is lost between blocks" if expands else ""
        table["allocator"] = (devices["allocator"], why)
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


def _rhythm(
    spec: RunSpec, chosen: Chosen, rows: Rows, settings: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """How long is trained, and after how many steps what is done."""
    by_steps = spec.engine_args.get("max_steps", -1) > 0
    epochs = round(chosen.steps / chosen.per_epoch, 2) if by_steps else spec.epochs
    most = settings.get("save_total_limit")
    kept = f"the last {most} checkpoints are kept" if most else "every checkpoint is kept"
    if chosen.stored and chosen.stored.total >= WORTH_SAYING:
        kept += f", {bytes_text(chosen.stored.total)} each"
    is_evaluated = settings.get("eval_strategy", "no") != "no"
    loss = f"loss of {rows.validation} held-out rows"
    return {
        "epochs": (epochs, counted(chosen.steps, "step")),
        "logging_steps": (settings["logging_steps"], "steps between two losses"),
        "save_steps": (settings["save_steps"], kept),
        "eval_steps": (
            settings.get("eval_steps", "none"),
            loss if is_evaluated else "no evaluation during training",
        ),
    }


def _device(spec: RunSpec, chosen: Chosen, devices: Mapping[str, Any]) -> tuple[str, str]:
    """What is trained on, and why."""
    if chosen.device_type != "cpu":
        name = devices["names"][0] if devices["names"] else chosen.device_type
        all_are_used = spec.nproc_per_node is None and chosen.world > 1
        return f"{chosen.world} x {name}", "all GPUs are used" if all_are_used else ""
    others = " and ".join(devices.get("others", ()))
    why = f"this build of torch cannot use {others}" if others else "there is no GPU"
    name = "CPU" if chosen.world == 1 else f"CPU, {chosen.world} processes"
    return name, "--use_cpu" if spec.use_cpu else why


def _warnings(
    spec: RunSpec, chosen: Chosen, look: TokenLook, step: Step, devices: Mapping[str, Any]
) -> Iterator[str]:
    others = " and ".join(devices.get("others", ()))
    if others and not spec.use_cpu:  # of another maker than the usual torch is built for
        yield (
            f"there is {others}, which this build of torch cannot use; "
            f"{install_torch(FITTING_BUILD)} takes one that can, where there is one"
        )
    yield from chosen.warnings
    yield from coverage_warnings(look.model, step)
    if not METHODS[chosen.method].mergeable:
        yield (
            f"--method {chosen.method} trains virtual tokens: they cannot be merged, and vLLM, "
            "llama.cpp and Ollama do not serve them; PEFT loads them beside the base model"
        )
    if look.context is not None and chosen.cutoff > look.context:
        yield (
            f"--max_seq_length {chosen.cutoff} is above the model's context of {look.context}"
            " tokens"
        )


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
