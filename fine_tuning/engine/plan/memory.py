"""How much device memory a training needs, estimated before anything is loaded.

Weights, gradients and optimizer states follow from the number of parameters; activations from
layers, width, vocabulary and the tokens of one step (gradient checkpointing, as LLaMA-Factory
switches on). An estimate, meant to choose a batch that fits: docs/benchmarks.md says how it
compares with measured peaks.
"""

from collections.abc import Mapping

from fine_tuning.values.plan import MemoryPlan
from fine_tuning.values.tokens import ModelFacts

USABLE = 0.92
BYTES_PER_WEIGHT = {"4bit": 0.58, "8bit": 1.06}
BATCHES = (8, 4, 2, 1)


def estimate(
    model: ModelFacts,
    *,
    batch_size: int,
    cutoff: int,
    method: str,
    quantization: str,
    rank: int,
    half_precision: bool,
    pairs: bool = False,
) -> MemoryPlan:
    """Memory for one device. `pairs`: each row is two sequences (chosen and rejected)."""
    parameters = float(model.parameters)
    width, layers, vocabulary = model.hidden, model.layers, model.vocabulary
    bytes_each = BYTES_PER_WEIGHT.get(quantization, 2.0 if half_precision else 4.0)
    if method == "full":
        # float32 master weights are the weights themselves; gradient, and two Adam moments
        weights, state = 4.0 * parameters, 12.0 * parameters
    else:
        trained = parameters * 0.1 if method == "freeze" else 14.0 * layers * width * rank
        weights, state = bytes_each * parameters, 16.0 * trained
    tokens = batch_size * cutoff * (2 if pairs else 1)
    number = 2.0 if half_precision else 4.0
    checkpoints = layers * width * tokens * number
    one_layer = 34.0 * width * tokens * (number / 2)
    logits = 3.0 * vocabulary * tokens * 4.0
    return MemoryPlan(batch_size, weights, state, checkpoints + one_layer + logits)


def largest_batch(plans: Mapping[int, MemoryPlan], available: float) -> int:
    """The largest batch whose plan fits into the available bytes; 1 if none does."""
    fitting = [batch for batch, plan in plans.items() if plan.total <= USABLE * available]
    return max(fitting, default=1)
