"""Batch and gradient checkpointing by what fits, and what would make a training fit that does not.

Free memory decides: what other programs hold cannot be used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fine_tuning.engine.plan.memory.peak import estimate, largest_batch
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.errors import EnvironmentProblem
from fine_tuning.values.plan import GIB, OVERHEAD, MemoryPlan
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tokens import ModelFacts

BATCHES = (16, 8, 4, 2, 1)
BLIND_BATCH = 8  # where nothing is known of the memory
# A GPU is busy with so many tokens at a time: beyond them a larger batch saves less time than
# gradient checkpointing, which computes each layer twice, costs.
BUSY_TOKENS = 4096
SHORTEST_ROW = 128  # tokens; a cutoff below this is no advice
ROUND_CUTOFF = 64
TO_GRADIENT_CHECKPOINTING = "leave out --disable_gradient_checkpointing"
SHARDED = (
    "use several GPUs with --deepspeed configs/deepspeed_zero3.json, or a GPU with more memory"
)


@dataclass(frozen=True)
class Fitted:
    """The step with its batch, and the memory of each batch that was thought of."""

    step: Step
    plans: Mapping[int, MemoryPlan]
    free: float | None = None  # None: nobody knows, or it does not matter


def fit(
    model: ModelFacts | None,
    step_of: Callable[[int], Step],
    batches: Sequence[int],
    *,
    free: float | None,
    may_keep_activations: bool,
) -> Fitted:
    """The largest of the batches that fits, else the smallest; `step_of` gives the step of a batch.

    Without gradient checkpointing, if allowed, where that fits with the largest batch, or with one
    that keeps the GPU busy.
    """
    steps = {batch: step_of(batch) for batch in batches}
    plans = _plans(model, steps)
    if free is None or not plans:
        blind = [batch for batch in batches if batch <= BLIND_BATCH]
        return Fitted(steps[max(blind, default=min(batches))], plans)
    if may_keep_activations:
        keeping = {batch: replace(step, checkpointing=False) for batch, step in steps.items()}
        kept = _plans(model, keeping)
        batch = largest_batch(kept, free)
        enough = batch == max(batches) or keeping[batch].tokens >= BUSY_TOKENS
        if enough and kept[batch].fits(free):
            return Fitted(keeping[batch], kept, free)
    return Fitted(steps[largest_batch(plans, free)], plans, free)


def _plans(model: ModelFacts | None, steps: Mapping[int, Step]) -> dict[int, MemoryPlan]:
    known = {b: estimate(model, step) for b, step in steps.items()} if model else {}
    return {batch: plan for batch, plan in known.items() if plan is not None}


def require_fit(
    model: ModelFacts | None, fitted: Fitted, devices: Mapping[str, Any]
) -> tuple[str, ...]:
    """A warning where the step needs more memory than is free, with the smallest change that fits.

    Raises EnvironmentProblem where it needs more than the whole device has.
    """
    plan = fitted.plans.get(fitted.step.batch)
    if model is None or plan is None or fitted.free is None or plan.fits(fitted.free):
        return ()
    total = float(min(devices["memory"]))
    free = fitted.free
    needed = f"about {plan.total / GIB:.1f} GiB are needed"
    there = f"{free / GIB:.1f} of the GPU's {total / GIB:.1f} GiB are free"
    change = smallest_change(model, fitted.step, free)
    if plan.total - OVERHEAD > total:
        raise EnvironmentProblem(
            "This training does not fit into the GPU's memory.",
            why=f"{needed}, and {there}: {parts(plan)}",
            fix=change,
        )
    if plan.fits(total):
        change = f"end what else runs there (nvidia-smi lists it), or {change}"
    return (f"{needed}, and {there}; it may run out of memory: {change}",)


def parts(plan: MemoryPlan) -> str:
    """The memory by what needs it, in words."""
    return (
        f"frozen weights {plan.weights / GIB:.1f}, trained weights with gradients and optimizer "
        f"{plan.training_state / GIB:.1f}, activations and logits {plan.activations / GIB:.1f} GiB"
    )


def smallest_change(model: ModelFacts, step: Step, free: float) -> str:
    """The first single change that makes the step fit, else the fewest of them together."""
    changes = list(ways_down(model, step))
    for text, change in changes:
        if _fits(model, change(step), free):
            return _said([text])
    taken: list[str] = []
    for text, change in changes:
        changed = change(step)
        if changed == step:
            continue
        step = changed
        name = text.split()[0]  # the last word on it holds
        taken = [known for known in taken if known.split()[0] != name] + [text]
        if _fits(model, step, free):
            return _said(taken)
    return SHARDED


def _said(changes: Sequence[str]) -> str:
    """The changes as advice: flags to add, after what is to be left out."""
    flags = " and ".join(change for change in changes if change.startswith("--"))
    words = [change for change in changes if not change.startswith("--")]
    return ", and ".join([*words, *([f"add {flags}"] if flags else [])])


def _fits(model: ModelFacts, step: Step, free: float) -> bool:
    plan = estimate(model, step)
    return plan is not None and plan.fits(free)


def ways_down(model: ModelFacts | None, step: Step) -> Iterator[tuple[str, Callable[[Step], Step]]]:
    """What can be changed, the least first; what is set already is not among it."""
    if not step.checkpointing and METHODS[step.method].checkpoints:
        yield TO_GRADIENT_CHECKPOINTING, lambda step: replace(step, checkpointing=True)
    for batch in (batch for batch in BATCHES if batch < step.batch):
        yield f"--batch_size {batch}", _batch(batch)
    if step.method in ("full", "freeze"):
        if "8bit" not in step.optimizer:
            yield "--optim adamw_8bit", lambda step: replace(step, optimizer="adamw_8bit")
        yield "--method lora", lambda step: replace(step, method="lora")
    if step.quantization != "4bit" and (model is None or model.stored is None):
        text = "--quantization 4bit" if step.adapts else "--method qlora"
        kept = step.method if step.adapts else "lora"
        yield text, lambda step: replace(step, method=kept, quantization="4bit")
    for share in (0.75, 0.5, 0.25):
        length = int(step.length * share) // ROUND_CUTOFF * ROUND_CUTOFF
        if length >= SHORTEST_ROW:
            yield f"--max_seq_length {length}", _length(length)


def _batch(batch: int) -> Callable[[Step], Step]:
    return lambda step: replace(step, batch=min(batch, step.batch))


def _length(length: int) -> Callable[[Step], Step]:
    return lambda step: replace(step, length=min(length, step.length))
