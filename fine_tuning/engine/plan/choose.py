"""What the user left open: each decision with its reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fine_tuning.engine.plan.groups import Grouping, answer_length, grouping, sampling
from fine_tuning.engine.plan.memory.fitting import BATCHES, Fitted, fit, require_fit
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.engine.plan.on_gpu import on_gpu
from fine_tuning.engine.plan.processes import across, require_devices
from fine_tuning.engine.plan.storage import stored
from fine_tuning.units import counted
from fine_tuning.values.plan import GIB, Chosen, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import TokenLook

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
    job = Undecided(spec=spec, rows=rows, look=look, devices=devices)
    if job.on_gpu:
        require_devices(job.processes, devices)
    (precision, precision_why), (optimizer, optimizer_why) = job.precision, job.optimizer
    fitted = fit(
        look.model,
        job.step,
        job.batches,
        free=free_memory(devices, job.processes) if job.on_gpu else None,
        may_keep_activations="disable_gradient_checkpointing" not in spec.engine_args,
    )
    batch = fitted.step.batch
    accumulation, accumulation_why = job.accumulation(batch)
    per_epoch = job.updates(batch, accumulation)
    most = int(spec.engine("max_steps") or 0)
    rate, rate_why = job.rate
    chosen = Chosen(
        device_type=job.device_type,
        processes=job.processes,
        world=job.world,
        method=spec.method,
        quantization=spec.quantization,
        precision=precision,
        optimizer=optimizer,
        cutoff=look.cutoff,
        batch=batch,
        accumulation=accumulation,
        rate=rate,
        per_epoch=per_epoch,
        steps=most if most > 0 else max(1, math.ceil(per_epoch * spec.epochs)),
        memory=fitted.plans.get(batch),
        stored=stored(look.model, fitted.step),
        warnings=require_fit(look.model, fitted, devices),
        decided=(
            *(on_gpu(fitted.step, rows, look, devices) if job.on_gpu else ()),
            *across(rows.stage, spec.method, spec.engine_args, job.world),
            *(sampling(spec, rows, look) if job.groups else ()),
        ),
        why={
            "max_seq_length": job.cutoff_reason,
            "precision": precision_why,
            "optim": optimizer_why,
            "batch_size": job.batch_reason(fitted),
            "gradient_accumulation_steps": accumulation_why,
            "learning_rate": rate_why,
        },
    )
    return chosen, fitted.step


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """A training with choices that are open, and what each follows from: (choice, its reason)."""

    spec: RunSpec
    rows: Rows
    look: TokenLook
    devices: Mapping[str, Any]

    @property
    def device_type(self) -> str:
        """As torch calls it."""
        return "cpu" if self.spec.use_cpu else str(self.devices["kind"])

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on GPUs that torch computes on by CUDA or ROCm."""
        return self.device_type == "cuda"

    @property
    def processes(self) -> int:
        """Those of this node."""
        there = max(1, len(self.devices["names"])) if self.on_gpu else 1
        return self.spec.nproc_per_node or there

    @property
    def world(self) -> int:
        """Processes of all nodes."""
        return self.processes * self.spec.nnodes

    @cached_property
    def groups(self) -> Grouping | None:
        """How answers of an online training are grouped; None for others. Raises UsageError."""
        online = OBJECTIVES[self.rows.stage].online
        return grouping(self.spec, self.rows, self.world) if online else None

    @property
    def units(self) -> int:
        """What an epoch is divided into: rows, blocks of packed ones, or answers."""
        rows = self.rows.train
        return rows * self.groups.group if self.groups else self.rows.blocks(rows, self.look.cutoff)

    @property
    def precision(self) -> tuple[str, str]:
        """The number format of computing."""
        given = self.spec.engine_args
        for name in ("bf16", "fp16", "pure_bf16"):
            if given.get(name):
                return name, ""
        if self.device_type == "cpu":
            return "fp32", "a CPU computes float32 fastest"
        if not self.on_gpu:
            return "fp32", ""
        has_bf16 = bool(self.devices["bf16"])
        chosen = "bf16" if has_bf16 else "fp16"
        why = "the GPU has bfloat16" if has_bf16 else "the GPU has no bfloat16"
        return (chosen, why) if given.get(chosen) is None else ("fp32", f"--{chosen} false")

    @property
    def optimizer(self) -> tuple[str, str]:
        """As Transformers calls it."""
        if "optim" in self.spec.engine_args:
            return str(self.spec.engine("optim")), ""
        if self.on_gpu and not splits_the_model(self.spec):
            return "adamw_torch_fused", "a GPU updates all weights in one kernel"
        return "adamw_torch", "AdamW"

    @property
    def batches(self) -> tuple[int, ...]:
        """Batches to choose from. An epoch has enough steps with each, and no update more rows than
        EFFECTIVE_BATCH."""
        if self.spec.batch_size:
            return (self.spec.batch_size,)
        enough = self.groups.answers if self.groups else self.units // LEAST_STEPS_PER_EPOCH
        most = min(EFFECTIVE_BATCH, enough) // self.world
        return tuple(batch for batch in BATCHES if batch <= max(1, most))

    def batch_reason(self, fitted: Fitted) -> str:
        """Why this batch was taken."""
        if self.spec.batch_size:
            return ""
        plan = fitted.plans.get(fitted.step.batch)
        if self.on_gpu and plan is not None and fitted.free is not None:
            return (
                f"needs about {plan.total / GIB:.1f} of {fitted.free / GIB:.1f} GiB that are free"
            )
        unknown = f"; {NO_ESTIMATE}" if self.on_gpu and splits_the_model(self.spec) else ""
        return f"suits {counted(self.units, 'row')}{unknown}"

    def accumulation(self, batch: int) -> tuple[int, str]:
        """Batches of an update."""
        if "gradient_accumulation_steps" in self.spec.engine_args:
            return int(self.spec.engine("gradient_accumulation_steps")), ""
        if self.groups:
            steps = self.groups.accumulation(batch)
            answers = steps * batch * self.world
            prompts = counted(answers // self.groups.group, "prompt")
            return steps, f"{answers} answers per update, {self.groups.group} to each of {prompts}"
        effective = min(EFFECTIVE_BATCH, max(1, self.units // LEAST_STEPS_PER_EPOCH))
        steps = max(1, effective // (batch * self.world))
        return steps, f"{counted(steps * batch * self.world, 'row')} per update"

    def updates(self, batch: int, accumulation: int) -> int:
        """Updates of an epoch."""
        if self.groups:
            return max(1, self.groups.updates(batch, accumulation))
        return max(1, math.ceil(self.units / (batch * self.world * accumulation)))

    def step(self, batch: int) -> Step:
        """A step with this batch, as its memory is estimated."""
        spec = self.spec
        answers = answer_length(spec, self.look) if self.groups else 0
        return Step(
            method=spec.method,
            stage=self.rows.stage,
            quantization=spec.quantization,
            rank=spec.lora_rank,
            virtual_tokens=spec.num_virtual_tokens,
            targeted=spec.target_parameters,
            batch=batch,
            length=self.look.cutoff + answers,
            half=self.precision[0] != "fp32",
            accumulation=self.accumulation(batch)[0],
            checkpointing=METHODS[spec.method].checkpoints
            and not spec.engine("disable_gradient_checkpointing"),
            optimizer=self.optimizer[0],
            processes=self.world,
            given=spec.engine_args,
        )

    @property
    def rate(self) -> tuple[float, str]:
        """The learning rate."""
        method, stage = self.spec.method, self.rows.stage
        if self.spec.learning_rate is not None:
            return self.spec.learning_rate, ""
        objective, known = OBJECTIVES[stage], METHODS[method]
        if known.rate is not None:
            return known.rate, f"usual for {method}"
        tiny = self.look.model is not None and self.look.model.parameters < TINY_MODEL
        if tiny and known.makes_adapter and objective.fits_small_models:
            return TINY_RATE, f"usual for {method} {stage} of so small a model"
        return objective.rate(known.leaves), f"usual for {method} {stage}"

    @property
    def cutoff_reason(self) -> str:
        """How long the rows are."""
        longest = self.look.longest
        if over := len(self.look.overlong):
            return (
                f"the longest row has {longest:,} tokens; "
                f"{counted(over, 'row is', 'rows are')} longer than this"
            )
        return f"the longest row has {longest:,} tokens"


def alpha(spec: RunSpec) -> int:
    """The scale of the adapter: as given, else twice the rank."""
    return spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank


def splits_the_model(spec: RunSpec) -> bool:
    """Whether an engine spreads weights, gradients or optimizer states over the devices.

    How much of them, and what moves to the CPU, stands in a configuration of its own.
    """
    return bool(spec.engine_args.get("deepspeed") or spec.engine_args.get("fsdp"))


def free_memory(devices: Mapping[str, Any], processes: int) -> float:
    """Bytes that are free on the one of the used GPUs that has the fewest."""
    return float(min((devices.get("free") or devices["memory"])[:processes]))
