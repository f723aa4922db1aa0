"""Every choice that the user left open, and the settings that LLaMA-Factory is given.

`make_plan` is pure: rows, model, devices and the user's wishes in, settings and reasons out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.engine.plan.memory import GIB, MemoryPlan, estimate, largest_batch
from fine_tuning.errors import UsageError
from fine_tuning.screen import Choice, Source
from fine_tuning.spec import RunSpec

EFFECTIVE_BATCH = 16
LEAST_STEPS_PER_EPOCH = 40
LEARNING_RATES = {
    ("sft", "adapter"): 2e-4,
    ("pt", "adapter"): 1e-4,
    ("rm", "adapter"): 1e-4,
    ("dpo", "adapter"): 5e-6,
    ("kto", "adapter"): 5e-6,
    ("sft", "full"): 1e-5,
    ("pt", "full"): 1e-5,
    ("rm", "full"): 1e-5,
    ("dpo", "full"): 5e-7,
    ("kto", "full"): 5e-7,
}
# Rates for adapters grow as models shrink; one as small as the demo model needs much more.
TINY_MODEL, TINY_RATE = 20_000_000, 4e-3
# ORPO and SimPO are losses of LLaMA-Factory's dpo stage.
ENGINE_STAGES = {"orpo": "dpo", "simpo": "dpo"}
QUANTIZATION_BITS = {"4bit": 4, "8bit": 8}
OF_EVALUATION = (
    "eval_strategy",
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "per_device_eval_batch_size",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the plan needs to know of the prepared rows."""

    kind: str
    stage: str
    train: int
    validation: int
    tokens: int
    train_name: str
    validation_name: str
    dataset_dir: Path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of `train.yaml`, those that only our worker adds, and the reasons for both."""

    settings: Mapping[str, Any]
    worker_settings: Mapping[str, Any]
    choices: tuple[Choice, ...]
    steps: int
    launch: Mapping[str, Any]
    memory: MemoryPlan | None
    warnings: tuple[str, ...] = ()


def make_plan(
    spec: RunSpec,
    *,
    sources: Mapping[str, Source],
    rows: Rows,
    tokens: Mapping[str, Any],
    devices: Mapping[str, Any],
    model_path: str,
    run_dir: Path,
) -> Plan:
    """Resolve everything. `tokens` is the worker's look at the tokens, `devices` its devices."""
    kind = "cpu" if spec.use_cpu else str(devices["kind"])
    processes = spec.nproc_per_node or (max(1, len(devices["names"])) if kind == "cuda" else 1)
    world = processes * spec.nnodes
    quantization = "4bit" if spec.method == "qlora" else spec.quantization
    method = "lora" if spec.method == "qlora" else spec.method
    precision = _precision(kind, bool(devices["bf16"]), spec.engine_args)
    cutoff = int(tokens["cutoff"])
    memory = _memory_by_batch(
        tokens["model"], cutoff, method, quantization, spec, precision, rows.kind == "preference"
    )
    blocks = rows.train if rows.kind != "text" else _blocks(rows, rows.train, cutoff)
    batch, batch_reason = _batch_size(spec, kind, devices, memory, blocks, world)
    accumulation, accumulation_reason = _accumulation(spec, blocks, batch, world)
    per_epoch = max(1, math.ceil(blocks / (batch * world * accumulation)))
    steps = _steps(spec, per_epoch)
    rate, rate_reason = _learning_rate(spec, rows.stage, method, tokens["model"])
    chosen: dict[str, tuple[Any, str]] = {
        "template": (
            tokens["template"]["name"] or "(the model's own)",
            tokens["template"]["reason"],
        ),
        "max_seq_length": (cutoff, _cutoff_reason(spec, tokens)),
        "stage": (rows.stage, f"fits {rows.kind} data"),
        "method": (spec.method, ""),
        "quantization": (quantization, ""),
        "precision": (precision, _precision_reason(kind, precision)),
        "device": (_device_text(kind, devices, world), ""),
        "batch_size": (batch, batch_reason),
        "gradient_accumulation_steps": (accumulation, accumulation_reason),
        "learning_rate": (rate, rate_reason),
        "epochs": (spec.epochs, f"{steps} steps"),
        "seed": (spec.seed, ""),
        "validation": (rows.validation, f"rows held out of {rows.train + rows.validation}"),
    }
    if method == "lora":
        chosen["lora_rank"] = (spec.lora_rank, "")
        chosen["lora_alpha"] = (_alpha(spec), "twice the rank")
    settings: dict[str, Any] = {
        **_model_settings(spec, model_path, tokens, quantization),
        **_method_settings(spec, rows.stage, method),
        **_data_settings(rows, cutoff, tokens),
        **_training_settings(run_dir, batch, accumulation, rate, spec, precision, kind),
        **_interval_settings(steps, per_epoch),
    }
    evaluation, given = _evaluation(spec, _evaluation_settings(rows, steps, batch, cutoff))
    # bitsandbytes repacks 4-bit weights when it evaluates on a CPU, and the next step fails; our
    # worker prevents that, `llamafactory-cli train` by hand cannot.
    by_hand_fails = kind == "cpu" and quantization == "4bit"
    if not by_hand_fails:
        settings |= evaluation
    settings |= given
    return Plan(
        settings=settings,
        worker_settings=evaluation if by_hand_fails else {},
        choices=_choices(chosen, spec, sources),
        steps=steps,
        launch={**_launch(spec, processes), "gpus": len(devices["names"])},
        memory=memory.get(batch) if memory else None,
        warnings=(
            *_warnings(kind, devices, memory, batch),
            *_context_warnings(cutoff, tokens["context"]),
        ),
    )


def _precision(kind: str, bf16: bool, given: Mapping[str, Any]) -> str:
    for name in ("bf16", "fp16", "pure_bf16"):
        if given.get(name):
            return name
    if kind != "cuda":
        return "fp32"
    return "bf16" if bf16 else "fp16"


def _precision_reason(kind: str, precision: str) -> str:
    if kind == "cpu":
        return "a CPU computes float32 fastest"
    return {"bf16": "the GPU has bfloat16", "fp16": "the GPU has no bfloat16"}.get(precision, "")


def _device_text(kind: str, devices: Mapping[str, Any], world: int) -> str:
    if kind == "cpu":
        return "CPU" if world == 1 else f"CPU, {world} processes"
    name = devices["names"][0] if devices["names"] else kind
    return f"{world} x {name}"


def _memory_by_batch(
    model: Mapping[str, Any] | None,
    cutoff: int,
    method: str,
    quantization: str,
    spec: RunSpec,
    precision: str,
    pairs: bool,
) -> dict[int, MemoryPlan]:
    if not model:
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
    return wanted, f"{train_rows} rows"


def _accumulation(spec: RunSpec, train_rows: int, batch: int, world: int) -> tuple[int, str]:
    if "gradient_accumulation_steps" in spec.engine_args:
        return int(spec.engine_args["gradient_accumulation_steps"]), ""
    enough_steps = max(1, train_rows // LEAST_STEPS_PER_EPOCH)
    effective = min(EFFECTIVE_BATCH, enough_steps)
    steps = max(1, effective // (batch * world))
    return steps, f"{steps * batch * world} rows per update"


def _steps(spec: RunSpec, per_epoch: int) -> int:
    given = spec.engine_args.get("max_steps")
    if given and int(given) > 0:
        return int(given)
    return max(1, math.ceil(per_epoch * spec.epochs))


def _learning_rate(
    spec: RunSpec, stage: str, method: str, model: Mapping[str, Any] | None
) -> tuple[float, str]:
    if spec.learning_rate is not None:
        return spec.learning_rate, ""
    size = "full" if method in ("full", "freeze") else "adapter"
    tiny = model is not None and model["parameters"] < TINY_MODEL
    if tiny and size == "adapter" and stage in ("sft", "pt"):
        return TINY_RATE, f"usual for {method} {stage} of so small a model"
    rate = LEARNING_RATES[(ENGINE_STAGES.get(stage, stage), size)]
    return rate, f"usual for {method} {stage}"


def _alpha(spec: RunSpec) -> int:
    return spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank


def _cutoff_reason(spec: RunSpec, tokens: Mapping[str, Any]) -> str:
    longest = tokens["percentiles"]["max"]
    over = len(tokens["overlong"])
    if over:
        return f"the longest row has {longest} tokens; {over} rows are longer than this"
    return f"the longest row has {longest} tokens"


def _model_settings(
    spec: RunSpec, model_path: str, tokens: Mapping[str, Any], quantization: str
) -> dict[str, Any]:
    settings: dict[str, Any] = {"model_name_or_path": model_path}
    template = tokens["template"]
    if template["name"] is not None:
        settings["template"] = template["name"]
    if template["enable_thinking"] is not True:  # True is the engine's default
        settings["enable_thinking"] = template["enable_thinking"]
    if quantization in QUANTIZATION_BITS:
        settings["quantization_bit"] = QUANTIZATION_BITS[quantization]
        settings["quantization_method"] = "bnb"
    return settings


def _method_settings(spec: RunSpec, stage: str, method: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": ENGINE_STAGES.get(stage, stage),
        "do_train": True,
        "finetuning_type": method,
    }
    if stage in ENGINE_STAGES:
        settings["pref_loss"] = stage
    if method == "lora":
        settings |= {
            "lora_rank": spec.lora_rank,
            "lora_alpha": _alpha(spec),
            "lora_target": "all",
        }
    elif method == "oft":
        settings["oft_target"] = "all"
    return settings


def _data_settings(rows: Rows, cutoff: int, tokens: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": rows.train_name,
        "dataset_dir": str(rows.dataset_dir),
        "cutoff_len": cutoff,
        "overwrite_cache": True,
    }


def _training_settings(
    run_dir: Path,
    batch: int,
    accumulation: int,
    rate: float,
    spec: RunSpec,
    precision: str,
    kind: str,
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "output_dir": str(run_dir),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": rate,
        "num_train_epochs": spec.epochs,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "optim": "adamw_torch",
        "seed": spec.seed,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
    }
    if precision != "fp32":
        settings[precision] = True
    if kind == "cpu":
        settings["use_cpu"] = True
        settings["dataloader_pin_memory"] = False
        if (spec.nproc_per_node or 1) * spec.nnodes > 1:
            settings["ddp_backend"] = "gloo"
    return settings


def _interval_settings(steps: int, per_epoch: int) -> dict[str, Any]:
    """Logs about 100 times, saves about 10 times (at least each epoch), keeps two checkpoints."""
    return {
        "logging_steps": max(1, min(10, steps // 50)),
        "save_strategy": "steps",
        "save_steps": max(1, min(per_epoch, math.ceil(steps / 10), 500)),
        "save_total_limit": 2,
    }


def _blocks(rows: Rows, part: int, cutoff: int) -> int:
    """Blocks that a part of the text fills, about: the engine packs text and drops the rest."""
    share = part / max(1, rows.train + rows.validation)
    return max(1, int(rows.tokens * share) // cutoff)


def _evaluation_settings(rows: Rows, steps: int, batch: int, cutoff: int) -> dict[str, Any]:
    """None without held-out rows, nor where held-out text would hardly fill one block."""
    if not rows.validation:
        return {}
    if rows.kind == "text" and rows.tokens * rows.validation < 2 * cutoff * (
        rows.train + rows.validation
    ):
        return {}
    return {
        "eval_dataset": rows.validation_name,
        "eval_strategy": "steps",
        "eval_steps": max(1, math.ceil(steps / 10)),
        "per_device_eval_batch_size": max(1, batch),
    }


def _evaluation(
    spec: RunSpec, evaluation: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the training evaluates, with what the user says about that; and the user's other words.

    The best checkpoint can only be found if each evaluation has one. Raises UsageError for an
    evaluation that has no rows.
    """
    asked = {name: value for name, value in spec.engine_args.items() if name in OF_EVALUATION}
    others = {name: value for name, value in spec.engine_args.items() if name not in asked}
    best = asked.get("load_best_model_at_end")
    if not evaluation:
        wanted = [name for name in ("eval_strategy", "load_best_model_at_end") if asked.get(name)]
        if wanted and asked.get("eval_strategy") != "no":
            raise UsageError(
                f"--{wanted[0]} needs validation rows, and none are held out.",
                fix="give --val_size or --val_dataset_path, or leave it out",
            )
        return {}, {**others, **asked}
    evaluation = {**evaluation, **asked}
    if best:
        evaluation["save_strategy"] = evaluation["eval_strategy"]
        evaluation["save_steps"] = evaluation["eval_steps"]
    return evaluation, others


def _launch(spec: RunSpec, processes: int) -> dict[str, Any]:
    return {
        "nproc_per_node": processes,
        "nnodes": spec.nnodes,
        "node_rank": spec.node_rank,
        "master_addr": spec.master_addr,
        "master_port": spec.master_port,
    }


def _warnings(
    kind: str, devices: Mapping[str, Any], memory: Mapping[int, MemoryPlan], batch: int
) -> tuple[str, ...]:
    if kind != "cuda" or batch not in memory:
        return ()
    needed, there = memory[batch].total, min(devices["memory"])
    if needed <= there:
        return ()
    return (
        f"about {needed / GIB:.0f} GiB are needed and the GPU has {there / GIB:.0f} GiB; if it "
        "runs out, try --quantization 4bit or a smaller --max_seq_length",
    )


def _context_warnings(cutoff: int, context: int | None) -> tuple[str, ...]:
    if context is None or cutoff <= context:
        return ()
    return (f"--max_seq_length {cutoff} is above the model's context of {context} tokens",)


def _choices(
    chosen: Mapping[str, tuple[Any, str]], spec: RunSpec, sources: Mapping[str, Source]
) -> tuple[Choice, ...]:
    defaults = ("method", "quantization", "lora_rank", "lora_alpha", "epochs", "seed")
    table = [
        Choice(
            name,
            str(value),
            reason,
            sources.get(name, "default" if name in defaults else "chosen"),
        )
        for name, (value, reason) in chosen.items()
    ]
    passed = [
        Choice(name, str(value), "", sources.get(name, "you"))
        for name, value in spec.engine_args.items()
        if name not in chosen
    ]
    return (*table, *passed)
