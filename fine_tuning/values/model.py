"""What is known of a model before its weights are loaded: each of them, and its widths."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

Kind = Literal["attention", "mlp", "experts", "embeddings", "head", "tower", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weight of the model, once for each of the `count` places that have one like it."""

    name: str  # "model.layers.*.self_attn.q_proj.weight"
    kind: Kind  # tower: all of a part that sees or hears; other: norms, routers and the like
    shape: tuple[int, ...]  # of a linear layer's: (outputs, inputs)
    count: int = 1
    linear: bool = False  # a linear layer's matrix: PEFT adapts and bitsandbytes quantises these
    layered: bool = False  # its places are the layers of the text part

    @property
    def parameters(self) -> int:
        """Numbers in all places."""
        return prod(self.shape) * self.count

    @property
    def module(self) -> str:
        """The last name of its module, as --lora_target names it."""
        return (self.name.rsplit(".", 2)[-2:-1] or [""])[0]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How a checkpoint that comes quantised keeps its linear layers."""

    method: str  # gptq, awq, bitsandbytes ...
    bits: float  # a number, with its scales


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The model, for the estimate of its memory, and what it asks of the engine."""

    parameters: int  # all of them; what follows is of its text part
    hidden: int  # width
    layers: int
    vocabulary: int
    media_positions: bool = False  # whether positions of tokens are counted by the media (M-RoPE)
    weights: tuple[Weights, ...] = ()  # empty in the record of an older version
    weight_bytes: int = 2  # of a number in the checkpoint, unless it is quantised
    stored: Stored | None = None  # None: the checkpoint is not quantised
    attention: int = 0  # width of all heads together
    heads: int = 0
    experts_per_token: int = 0  # routed ones that see one token; 0 without experts
    tied: bool = False  # the head is the embeddings
    sdpa: bool = True  # whether torch's attention is used, if the user names no other
    caps_scores: bool = False  # attention's scores go through a tanh
    caps_logits: bool = False  # and so do the logits

    @property
    def keys(self) -> int:
        """Width of the keys of all their heads."""
        widths = [w.shape[0] for w in self.weights if w.module == "k_proj" and w.linear]
        return min(widths, default=self.attention)

    def by_kind(self) -> Mapping[Kind, int]:
        """Parameters by kind."""
        sums: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        for weights in self.weights:
            sums[weights.kind] += weights.parameters
        return {kind: count for kind, count in sums.items() if count}
