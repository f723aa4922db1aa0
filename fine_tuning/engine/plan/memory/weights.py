"""Which of a model's weights a step trains, and in how many bytes the others are kept.

PEFT puts adapters on linear layers, and bitsandbytes quantises linear layers. What is not one, as
the routed experts that Transformers 5 keeps as three-dimensional parameters, is neither adapted nor
quantised by either.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fine_tuning.values.tables.kinds import KINDS
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import ModelFacts, WeightKind, Weights

FLOAT = 4  # bytes of a float32, as trained weights, gradients and norms are
HALF = 2
# Bytes of a number in 4 bits: bitsandbytes keeps a scale for 64 numbers, in 8 bits with a float32
# for 256 scales (functional.py), or in a float32 with --double_quantization false.
FOUR_BIT = 0.5 + (1 + FLOAT / 256) / 64
FOUR_BIT_SINGLE = 0.5 + FLOAT / 64
FREEZE_LAYERS = 2  # LLaMA-Factory's default of --freeze_trainable_layers
VERA_RANK = 256  # PEFT's
OFT_BLOCK = 32  # and of --oft_block_size


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step, as far as its memory depends on it."""

    method: str
    stage: str
    quantization: str
    rank: int
    virtual_tokens: int = 20
    targeted: tuple[str, ...] = ()  # --target_parameters
    batch: int
    length: int  # tokens of its longest row
    half: bool  # computed in 16 bits
    accumulation: int = 1
    checkpointing: bool = True
    optimizer: str = "adamw_torch_fused"
    processes: int = 1
    given: Mapping[str, Any] = field(default_factory=dict)  # the engine's other arguments

    @property
    def tokens(self) -> int:
        """Of all sequences that are computed at once, with the virtual ones before each."""
        before = METHODS[self.method].soft_prompt and self.method != "prefix_tuning"
        length = self.length + (self.virtual_tokens if before else 0)
        return self.batch * length * (2 if KINDS[OBJECTIVES[self.stage].takes].is_pair else 1)

    @property
    def number(self) -> int:
        """Bytes of a number that is computed with."""
        return HALF if self.half else FLOAT

    @property
    def trained_bytes(self) -> int:
        """Bytes of a trained number, of its gradient, and of each of its moments: PEFT keeps
        adapters in float32 whatever is asked for (autocast_adapter_dtype)."""
        return HALF if self.given.get("pure_bf16") and not self.adapts else FLOAT

    @property
    def adapter_number(self) -> int:
        """Bytes of a number that an adapter computes with: without autocast, as it is kept."""
        return self.trained_bytes if self.given.get("pure_bf16") else self.number

    @property
    def adapts(self) -> bool:
        """Whether the model itself stays as it is."""
        return METHODS[self.method].makes_adapter

    def layers(self, model: ModelFacts) -> int:
        """Layers that need a backward pass: with `freeze` only those from the first trained one."""
        if self.method != "freeze":
            return model.layers
        wanted = int(self.given.get("freeze_trainable_layers") or FREEZE_LAYERS)
        return min(wanted, model.layers) if wanted > 0 else model.layers

    def trained_share(self, model: ModelFacts) -> float:
        """Of these layers those of which something is trained: with a negative number of `freeze`
        the first."""
        if self.method != "freeze":
            return 1.0
        wanted = int(self.given.get("freeze_trainable_layers") or FREEZE_LAYERS)
        return min(abs(wanted), model.layers) / self.layers(model)


@dataclass(frozen=True)
class Trains:
    """What a method trains: how many new numbers for these weights, and which share of them."""

    new: Callable[[Weights, Step], float] = lambda weights, step: 0.0
    share: Callable[[Weights, Step, ModelFacts], float] = lambda weights, step, model: 0.0


def names(given: Any) -> list[str]:
    """Names of modules as LLaMA-Factory takes them: a list, or one text with commas."""
    listed = given.split(",") if isinstance(given, str) else (given or [])
    return [str(name).strip() for name in listed]


def is_adapted(weights: Weights, step: Step) -> bool:
    """Whether an adapter is put on these weights."""
    target = names(step.given.get(f"{step.method}_target", "all"))
    if target == ["all"]:
        return weights.linear and weights.kind not in ("head", "tower")
    return weights.linear and weights.module in target


def is_targeted(weights: Weights, step: Step) -> bool:
    """Whether --target_parameters names these weights."""
    return weights.kind in step.targeted or any(
        weights.name.endswith(f".{name}") for name in step.targeted
    )


def _of_lora(weights: Weights, step: Step) -> float:
    if weights.module in names(step.given.get("additional_target")):
        return float(weights.parameters)  # a copy of the whole module
    if is_targeted(weights, step):
        outer = weights.shape[0]  # experts, each with matrices of its own
        return float(outer * step.rank * sum(weights.shape[1:]) * weights.count)
    if not is_adapted(weights, step):
        return 0.0
    magnitudes = weights.shape[0] if step.given.get("use_dora") else 0
    return float((step.rank * sum(weights.shape) + magnitudes) * weights.count)


def _of_oft(weights: Weights, step: Step) -> float:
    block = int(step.given.get("oft_block_size", OFT_BLOCK))
    rotations = weights.shape[-1] * (block - 1) / 2 * weights.count
    return rotations if is_adapted(weights, step) else 0.0


def _of_adalora(weights: Weights, step: Step) -> float:
    if weights.module in names(step.given.get("additional_target")):
        return float(weights.parameters)
    rank = math.ceil(1.5 * step.rank)  # engine/trainers/peft.py
    return float(rank * (sum(weights.shape) + 1) * weights.count) if is_linear(weights) else 0.0


def is_linear(weights: Weights) -> bool:
    """Whether `all` linear layers are meant to have it among them."""
    return weights.linear and weights.kind not in ("head", "tower")


def _of_vera(weights: Weights, step: Step) -> float:
    return float((weights.shape[0] + VERA_RANK) * weights.count) if is_linear(weights) else 0.0


def ia3_width(weights: Weights) -> int:
    """Factors of keys, values, or the inputs of the MLP's last layer; 0 for others."""
    side = {"k_proj": 0, "v_proj": 0, "down_proj": 1}.get(weights.module)
    return 0 if side is None else weights.shape[side]


def _of_prompt(weights: Weights, step: Step) -> float:
    return float(step.virtual_tokens * weights.shape[1]) if weights.kind == "embeddings" else 0.0


def _of_prefix(weights: Weights, step: Step) -> float:
    keys_or_values = weights.module in ("k_proj", "v_proj") and len(weights.shape) > 1
    return float(step.virtual_tokens * weights.shape[0] * weights.count) if keys_or_values else 0.0


def _of_encoder(weights: Weights, step: Step) -> float:
    """Virtual tokens and three layers as wide as they (peft/tuners/p_tuning/model.py)."""
    if weights.kind != "embeddings":
        return 0.0
    width = weights.shape[1]
    return float(step.virtual_tokens * width + 3 * (width * width + width))


def _in_norms(weights: Weights, step: Step, model: ModelFacts) -> float:
    return float("norm" in weights.module.lower() or weights.module.startswith("ln_"))


def _in_full(weights: Weights, step: Step, model: ModelFacts) -> float:
    return float(weights.kind != "tower" or step.given.get("freeze_vision_tower") is False)


def _in_freeze(weights: Weights, step: Step, model: ModelFacts) -> float:
    if weights.module in names(step.given.get("freeze_extra_modules")):
        return 1.0
    wanted = abs(int(step.given.get("freeze_trainable_layers") or FREEZE_LAYERS))
    return min(wanted, model.layers) / model.layers if weights.layered else 0.0


TRAINED: Mapping[str, Trains] = {
    "lora": Trains(new=_of_lora),
    "oft": Trains(new=_of_oft),
    "full": Trains(share=_in_full),
    "freeze": Trains(share=_in_freeze),
    "prompt_tuning": Trains(new=_of_prompt),
    "prefix_tuning": Trains(new=_of_prefix),
    "p_tuning": Trains(new=_of_encoder),
    "ia3": Trains(new=lambda weights, step: float(ia3_width(weights) * weights.count)),
    "vera": Trains(new=_of_vera),
    "ln_tuning": Trains(share=_in_norms),
    "adalora": Trains(new=_of_adalora),
}


def is_quantised(weights: Weights, step: Step, model: ModelFacts) -> bool:
    """Whether these weights are kept in fewer than 16 bits."""
    quantised = step.quantization in ("4bit", "8bit") or model.stored is not None
    return quantised and weights.linear and weights.kind != "head"


def trained_numbers(weights: Weights, step: Step, model: ModelFacts) -> float:
    """How many numbers are trained of these weights, and beside them."""
    method = TRAINED[step.method]
    return method.share(weights, step, model) * weights.parameters + method.new(weights, step)


def frozen_bytes(weights: Weights, step: Step, model: ModelFacts) -> float:
    """What these weights take while they are not trained."""
    if not is_quantised(weights, step, model):
        return float(model.weight_bytes * weights.parameters)
    if model.stored is not None:
        return model.stored.bits / 8 * weights.parameters
    if step.quantization == "8bit":  # with a float32 for each row
        return float(weights.parameters + FLOAT * weights.shape[0] * weights.count)
    single = step.given.get("double_quantization") is False
    return (FOUR_BIT_SINGLE if single else FOUR_BIT) * weights.parameters


@dataclass(frozen=True)
class Covered:
    """Weights of one kind: their number, and which shares are trained (or adapted), quantised."""

    kind: WeightKind
    parameters: int
    trained: float
    quantised: float


def trained_parameters(model: ModelFacts, step: Step) -> int:
    """Numbers that a training changes."""
    method = TRAINED[step.method]
    return round(
        sum(
            method.new(weights, step) + method.share(weights, step, model) * weights.parameters
            for weights in model.weights
        )
    )


def coverage(model: ModelFacts, step: Step) -> tuple[Covered, ...]:
    """What the training reaches, kind by kind; empty for a method that is not in the table."""
    method = TRAINED.get(step.method)
    if method is None:
        return ()
    found = []
    for kind, parameters in model.by_kind().items():
        of_kind = [weights for weights in model.weights if weights.kind == kind]
        trained = sum(
            w.parameters * (1.0 if method.new(w, step) else method.share(w, step, model))
            for w in of_kind
        )
        quantised = sum(w.parameters for w in of_kind if is_quantised(w, step, model))
        found.append(Covered(kind, parameters, trained / parameters, quantised / parameters))
    return tuple(found)
