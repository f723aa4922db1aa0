"""What one layer keeps of each token for its backward pass, in bytes.

Each line follows what torch's operations save: a product saves what the gradients of its two sides
need, so a frozen matrix saves no input, an adapter saves its own copy of the input (autocast makes
a new one for each layer that asks), and a trained matrix saves its input once for each layer.
Beside a quantised matrix PEFT leaves the casting to autocast, which has nothing to cast
(peft/tuners/*/bnb.py, `requires_conversion`), so that adapters of the same input save it once.
Attention is torch's sdpa, which keeps queries, keys, values and its output; keys and values are
repeated for all heads, and the mask of a padded batch becomes a number for each pair of tokens.
"""

from collections.abc import Callable, Mapping

from fine_tuning.engine.plan.memory.weights import (
    FLOAT,
    VERA_RANK,
    Step,
    ia3_width,
    is_adapted,
    is_linear,
)
from fine_tuning.values.tokens import ModelFacts, Weights


def layer_bytes(model: ModelFacts, step: Step) -> float:
    """Of one token, in a layer of the mean size."""
    kept = 0.0
    for weights in model.weights:
        if weights.layered:
            kept += weights.count / model.layers * _of_weights(weights, model, step)
    return kept - _shared_inputs(model, step) + _of_attention(model, step) + _of_gates(model, step)


def backward_bytes(model: ModelFacts, step: Step) -> float:
    """Gradients of one token that are alive at once on the way through a layer, at its widest.

    The adapters' come in float32, and are cast.
    """
    linear = [weights for weights in model.weights if weights.layered and weights.linear]
    widest = max((max(weights.shape) for weights in linear), default=model.hidden)
    if step.half and step.adapts:
        return step.number * (3.0 * widest + 6.0 * model.hidden)
    return step.number * 2.0 * widest


def dora_bytes(model: ModelFacts, step: Step) -> float:
    """What DoRA makes at once of its largest weight, to see how long the rows are that it trains.

    An identity as wide as the inputs, of which the adapter makes its update, and weight and update
    in one (peft/tuners/lora/dora.py). Nothing of it is kept.
    """
    if not step.given.get("use_dora"):
        return 0.0
    wide, number = step.trained_bytes, step.adapter_number
    of_inputs = wide + (number if number != wide else 0)
    of_weight = wide + 2 * number + (wide if model.weight_bytes != wide else 0)
    adapted = [w.shape for w in model.weights if w.layered and is_adapted(w, step)]
    sizes = (of_inputs * i * i + of_weight * o * i for o, i in adapted)
    return float(max(sizes, default=0))


def scores_are_made(model: ModelFacts, step: Step) -> bool:
    """Whether attention makes the scores of all pairs of tokens, as torch's own does not."""
    wanted = step.given.get("flash_attn", "auto")
    return wanted == "disabled" or (not model.sdpa and wanted in ("auto", "sdpa"))


def _of_weights(weights: Weights, model: ModelFacts, step: Step) -> float:
    if weights.linear and step.adapts:
        of_adapter = OF_ADAPTERS.get(step.method)
        return of_adapter(weights, step) if of_adapter else 0.0
    if weights.linear:  # a copy of its input in 16 bits; in float32 it is that of other operations
        inputs = weights.shape[1]
        return step.number * inputs * step.trained_share(model) if step.half else 0.0
    if weights.kind == "experts" and len(weights.shape) == 3:
        _, outputs, inputs = weights.shape
        return float(step.number * model.experts_per_token * (inputs + 2 * outputs))
    if weights.kind == "other" and len(weights.shape) == 1 and "norm" in weights.name:
        # Its input in float32 and one root; and what it multiplies with, if that is trained. One
        # that is as wide as a head is applied to every head of the queries or of the keys
        width, times = weights.shape[0], 1.0
        if model.heads and width * model.heads == model.attention:
            of_keys = weights.module.startswith("k")
            times = (model.keys if of_keys else model.attention) / width
        of_method = {"full": FLOAT, "freeze": step.number, "ln_tuning": step.number}
        multiplied = of_method.get(step.method, 0) * step.trained_share(model)
        return times * (FLOAT * width + FLOAT + multiplied * width)
    return 0.0


def _of_lora(weights: Weights, step: Step) -> float:
    """What goes into the first factor and what comes out of it."""
    if not is_adapted(weights, step):
        return 0.0
    outputs, inputs = weights.shape
    number = step.adapter_number
    kept = float(number * step.rank + (number * inputs if step.half else 0))
    if step.given.get("lora_dropout"):  # a mask of bytes, and what it leaves of the input
        kept += inputs if step.half else (1 + number) * inputs
    if step.given.get("use_dora"):  # both results, of which a magnitude makes one
        kept += 2 * number * outputs
    return kept


def _shared_inputs(model: ModelFacts, step: Step) -> float:
    """What a layer of quantised matrices keeps less than a copy of the input for each adapter.

    Queries, keys and values have one input, and so have an MLP's first layers; that of the output
    layer is kept by attention anyway. Dropout makes one of its own for each.
    """
    takes_inputs = OF_ADAPTERS.get(step.method) is _of_lora and step.adapts
    if step.quantization == "none" or not (takes_inputs and step.half):
        return 0.0
    if step.given.get("lora_dropout"):
        return 0.0
    shared = 0.0
    for kind in ("attention", "mlp"):
        of_hidden = sum(
            weights.count * weights.shape[1] / model.layers
            for weights in model.weights
            if weights.layered and weights.kind == kind and is_adapted(weights, step)
            if kind == "attention" or weights.shape[1] == model.hidden
        )
        shared += max(0.0, of_hidden - model.hidden)
    return step.adapter_number * shared


def _of_vera(weights: Weights, step: Step) -> float:
    """What its two vectors are multiplied with, beside frozen matrices."""
    return step.number * weights.shape[0] + 2 * FLOAT * VERA_RANK if is_linear(weights) else 0.0


# What an adapter keeps of a token at one linear layer; methods that are not here put none on it.
OF_ADAPTERS: Mapping[str, Callable[[Weights, Step], float]] = {
    "lora": _of_lora,
    "adalora": _of_lora,
    "oft": _of_lora,
    "vera": _of_vera,
    # its factors are in float32, so what they meet is too
    "ia3": lambda weights, step: float(FLOAT * ia3_width(weights)),
}


def _of_attention(model: ModelFacts, step: Step) -> float:
    if not any(weights.layered and weights.kind == "attention" for weights in model.weights):
        return 0.0
    b, width = step.number, model.attention
    kept = b * 4 * width + FLOAT * model.heads + b * step.length
    if scores_are_made(model, step):  # in float32 and in their own type; and before they are capped
        kept += (FLOAT + (2 if model.caps_scores else 1) * b) * model.heads * step.length
    if not step.half:
        return kept + FLOAT * 2 * model.hidden  # what the norms hand to several layers at once
    # the output layer, if it is trained, saves what attention keeps anyway
    return kept if step.adapts else kept - b * width * step.trained_share(model)


def _of_gates(model: ModelFacts, step: Step) -> float:
    """Outputs of an MLP's first layers, and of its activation function where that is multiplied."""
    inner = outer = 0.0
    for weights in model.weights:
        if weights.layered and weights.linear and weights.kind == "mlp":
            outputs, inputs = weights.shape
            each = weights.count / model.layers
            inner += each * inputs if outputs == model.hidden else 0.0
            outer += each * outputs if outputs != model.hidden else 0.0
    gated = outer >= 2 * inner
    kept = step.number * (outer + (inner if gated else 0.0))
    return kept if step.half else kept + FLOAT * inner
