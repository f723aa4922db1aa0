"""How much device memory a training step needs, from the model's weights one by one.

What is alive at once is summed for the moments at which a step can be at its peak. Sources: torch
2.11 (what operations save; autocast keeps copies of trained weights until it ends), Transformers
5.5 (norms and loss in float32), PEFT 0.18 (an adapter casts its input), bitsandbytes 0.50,
LLaMA-Factory 0.9.5 (`model/adapter.py`: trained weights in float32; `train/*/trainer.py`: the
reference model), accelerate 1.11 (outputs in float32). docs/benchmarks.md compares this with the
same steps on tensors without storage. Layers are taken as alike. Scoring is not counted: it takes
as many rows at once as there is memory for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fine_tuning.engine.plan.memory.layer import backward_bytes, dora_bytes, layer_bytes
from fine_tuning.engine.plan.memory.weights import (
    FLOAT,
    HALF,
    TRAINED,
    Step,
    frozen_bytes,
    is_quantised,
    is_targeted,
    trained_numbers,
)
from fine_tuning.values.plan import MemoryPlan
from fine_tuning.values.tokens import ModelFacts

# Bytes of the optimizer's state for a number in float32, by a part of the optimizer's name; two
# moments for those that are not here.
STATE_OF_OPTIMIZER = {"8bit": 2.1, "4bit": 1.1, "adafactor": 0.1, "sgd": 0.0, "lion": 4.0}
TWO_MOMENTS = 8.0
# Of each of the logits' numbers at the end of the forward pass, and when the loss is taken: there
# they lie in float32 as logarithms and as the gradients of both. Preference losses copy them for
# CUDA's log_softmax (a token is cut off) and keep the policy's while the reference's are made; kto
# takes the rows apart by their tag. Of a reward model they are made for nothing.
LOGITS = {"dpo": (6.0, 20.0), "kto": (6.0, 24.0), "rm": (6.0, 6.0)}
LOGITS_OF_LOSS = (10.0, 12.0)
# Compare with a model that is not trained. The keys and values of sampled answers are not counted:
# they lie in memory when no activations do.
REFERENCE = ("dpo", "kto", "grpo", "rloo")
# They change what lies where, in ways that are not counted here.
NOT_COUNTED = (
    "deepspeed",
    "fsdp",
    "use_galore",
    "use_apollo",
    "use_badam",
    "use_unsloth",
    "use_unsloth_gc",
    "use_kt",
    "use_llama_pro",
    "mixture_of_depths",
    "ref_model",
)


@dataclass(frozen=True)
class _Sizes:
    """Of the trained part: its numbers, those of one layer, and the bytes of the 16-bit copies that
    autocast makes of float32 matrices, in one layer and for the head. Those of trained ones
    (`cached`) it keeps during the forward pass. `targeted`: bytes of a layer's weights that
    --target_parameters names."""

    trained: float
    in_layer: float
    layer_copies: float
    cached: float
    head_copy: float
    targeted: float


def estimate(model: ModelFacts, step: Step) -> MemoryPlan | None:
    """Bytes on one device at the step's peak; None where they are not known.

    Not known: a method that is not in the table, what NOT_COUNTED names, DoRA with dropout (which
    keeps weights of its own), and a model of which an older version kept no weights.
    """
    if step.method not in TRAINED or not model.weights or not model.layers:
        return None
    if any(step.given.get(name) for name in NOT_COUNTED):
        return None
    if step.given.get("use_dora") and step.given.get("lora_dropout"):
        return None
    sizes = _sizes(model, step)
    gradients, activations = max(_peaks(model, step, sizes), key=sum)
    kept = sizes.trained * step.trained_bytes + optimizer_bytes(sizes.trained, step)
    # The weights that are not trained, and the reference model, if it is one of its own.
    share = TRAINED[step.method].share
    frozen = sum((1 - share(w, step, model)) * frozen_bytes(w, step, model) for w in model.weights)
    if step.stage in REFERENCE and step.method != "lora":
        frozen += sum(frozen_bytes(weights, step, model) for weights in model.weights)
    return MemoryPlan(step.batch, frozen, kept + gradients, activations)


def optimizer_bytes(trained: float, step: Step) -> float:
    """What the optimizer keeps of so many trained numbers."""
    state = next(
        (n for part, n in STATE_OF_OPTIMIZER.items() if part in step.optimizer), TWO_MOMENTS
    )
    return trained * step.trained_bytes * state / FLOAT


def _sizes(model: ModelFacts, step: Step) -> _Sizes:
    method = TRAINED[step.method]
    trained = in_layer = layer_copies = cached = head_copy = targeted = 0.0
    for weights in model.weights:
        share, new = method.share(weights, step, model), method.new(weights, step)
        numbers = trained_numbers(weights, step, model)
        trained += numbers
        in_layer += numbers / model.layers if weights.layered else 0.0
        stays_wide = model.weight_bytes == FLOAT and not is_quantised(weights, step, model)
        matrix = float(weights.parameters) if len(weights.shape) > 1 else 0.0
        copied = matrix if share or stays_wide else 0.0
        if weights.layered:
            of_trained = matrix * step.trained_share(model) if share else 0.0
            copied = matrix if stays_wide else of_trained
            if is_targeted(weights, step):
                targeted += model.weight_bytes * weights.parameters / model.layers
            layer_copies += HALF * (copied + new) / model.layers
            cached += HALF * (of_trained + new) / model.layers
        elif weights.kind == "head" or (model.tied and weights.kind == "embeddings"):
            head_copy += HALF * copied
    if not step.half or step.given.get("pure_bf16"):
        layer_copies = cached = head_copy = 0.0
    return _Sizes(trained, in_layer, layer_copies, cached, head_copy, targeted)


def _peaks(model: ModelFacts, step: Step, sizes: _Sizes) -> tuple[tuple[float, float], ...]:
    """Gradients and activations at each moment: the end of the forward pass, the loss, the last
    layer's backward pass and the first layer's, that of the embeddings, and the update."""
    layers = step.layers(model)
    width = model.hidden * step.tokens
    wide = not step.half or step.method == "full" or model.weight_bytes == FLOAT
    inputs = width * (FLOAT if wide else step.number)  # what the layers hand to each other
    saved = step.tokens * layer_bytes(model, step)
    passing = max(step.tokens * backward_bytes(model, step), dora_bytes(model, step))
    one = saved + sizes.layer_copies + passing
    # what PEFT makes of the weights themselves and of what is added to them, which is saved, and
    # its gradient (peft/tuners/lora/layer.py:ParamWrapper)
    one += 2 * sizes.targeted
    if step.checkpointing:  # only the inputs are kept, and a layer is computed again; LLaMA-Factory
        # leaves layers as they are of which nothing is trained (model_utils/checkpointing.py)
        again = layers * step.trained_share(model)
        kept = again * inputs + (layers - again) * saved
        copies, last = 0.0, kept + one
    else:
        kept, copies = layers * (saved + sizes.targeted), layers * sizes.layer_copies
        last = kept + copies + one - saved - sizes.layer_copies - sizes.targeted
    ends = 2 * FLOAT * width + sizes.head_copy  # the last norm
    forward, loss = LOGITS.get(step.stage, LOGITS_OF_LOSS)
    capped = step.number if model.caps_logits else 0
    logits = float(model.vocabulary * step.tokens)
    if step.given.get("enable_liger_kernel") and step.stage in ("sft", "pt"):
        logits = 0.0  # they are made and used in pieces
    # DistributedDataParallel gathers them in buckets of the same size
    all_gradients = sizes.trained * step.trained_bytes * (2 if step.processes > 1 else 1)
    of_layer = sizes.in_layer * step.trained_bytes
    before = all_gradients if step.accumulation > 1 else 0.0
    # tied weights get a gradient from each end, and their sum
    tied = model.tied and step.method == "full"
    summed = 2 * FLOAT * model.hidden * model.vocabulary if tied else 0
    foreach = step.optimizer in ("adamw_torch", "adamw_hf")  # a root for every number
    return (
        (before, kept + max(copies, layers * sizes.cached) + ends + (forward + capped) * logits),
        (before, kept + copies + ends + (loss + capped) * logits),
        (before, last),
        (all_gradients - of_layer, inputs + one),
        (all_gradients, 2 * inputs + summed),
        (all_gradients, sizes.trained * step.trained_bytes if foreach else 0.0),
    )


def largest_batch(plans: Mapping[int, MemoryPlan], available: float) -> int:
    """The largest batch whose plan fits into the available bytes; the smallest if none does."""
    fitting = [batch for batch, plan in plans.items() if plan.fits(available)]
    return max(fitting, default=min(plans))
