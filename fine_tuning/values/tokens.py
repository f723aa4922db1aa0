"""What the worker's look finds before any weight is loaded: the model, its template, the tokens.

It is sent, kept in `run.json` and read again. The names of the fields are the keys of the JSON; a
field that a run of an older version may lack has a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal, get_args

from msgspec import UNSET, UnsetType

from fine_tuning.values.codec import fingerprint

WeightKind = Literal["attention", "mlp", "experts", "embeddings", "head", "tower", "other"]
WEIGHT_KINDS: tuple[WeightKind, ...] = get_args(WeightKind)
Parity = Literal["equal", "differs", "none"]
BESIDE = 5  # tokens that are shown from the first that differs


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weight of the model, once for each of the `count` places that have one like it."""

    name: str  # "model.layers.*.self_attn.q_proj.weight"
    kind: WeightKind  # tower: all of a part that sees or hears; other: norms, routers and the like
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

    def by_kind(self) -> Mapping[WeightKind, int]:
        """Parameters by kind."""
        sums: dict[WeightKind, int] = dict.fromkeys(WEIGHT_KINDS, 0)
        for weights in self.weights:
            sums[weights.kind] += weights.parameters
        return {kind: count for kind, count in sums.items() if count}


@dataclass(frozen=True, kw_only=True)
class RenderingDifference:
    """The first row that LLaMA-Factory's template and the model's own render differently.

    Of a row that one of the two refuses there are no tokens: UNSET fields are not in the JSON.
    """

    trained: str  # as it is trained
    served: str  # by the model's own template
    trained_tokens: tuple[str, ...] | UnsetType = UNSET
    served_tokens: tuple[str, ...] | UnsetType = UNSET
    at: int  # index of the first token that differs
    part: Literal["prompt", "whole"] | UnsetType = UNSET  # what of the row is compared

    @property
    def beside(self) -> tuple[str, str]:
        """A few tokens from the first that differs: as trained, and by the model's own template."""
        trained, served = self.trained_tokens or (), self.served_tokens or ()
        end = self.at + BESIDE
        shown = [" ".join(tokens[self.at : end]) or "(end)" for tokens in (trained, served)]
        return shown[0], shown[1]


@dataclass(frozen=True, kw_only=True)
class Served:
    """How rows are encoded ahead of the training: by the chat template that a server will use."""

    chat_template: str | None  # None: the tokenizer's own; else the one that is shipped
    stops: tuple[str, ...]  # tokens at which the model's generation ends, beside the eos
    stop_ids: tuple[int, ...]  # of the tokens that end the trained answers, and of the stops
    thinking: bool | None  # None: on where an answer reasons, off where it does not
    default_system: str | None = None
    last_only: bool = False  # of a dialogue only the last answer is trained
    whole: bool = False  # all turns as the template writes them: for a reward model


@dataclass(frozen=True, kw_only=True)
class TemplateLook:
    """The template that is trained, how it compares with the model's own, and which is shipped."""

    name: str | None  # None: LLaMA-Factory's reading of the model's own chat template
    reason: str  # why this one is trained
    parity: Parity  # with the model's own on real rows; none: the model has none, or rows are text
    difference: RenderingDifference | None  # the first, if the parity is differs
    enable_thinking: bool | None  # LLaMA-Factory's setting; None: some rows reason, others do not
    others: tuple[str, ...] = ()  # names in LLaMA-Factory that render these rows as well
    jinja: str | None  # the trained one as a chat template, if it is shipped
    own: str | None  # the model's own chat template
    shipped: bool | None  # the trained one goes out; None: the model's own is the trained one
    unwritten: str | None  # why the trained one cannot be shipped as a chat template
    ahead: Served | None = None  # how rows are encoded ahead; None: the engine encodes them
    switched_off: tuple[str, ...] = ()  # names that switch reasoning, off for every row
    notes: tuple[str, ...] = ()  # what a person should know about it, in sentences

    @property
    def goes_out(self) -> str | None:
        """The chat template that goes out with the model: the trained one, else the model's own."""
        return (self.jinja if self.shipped else None) or self.own

    @property
    def fingerprint(self) -> str:
        """A hash of that, which tells one template from another."""
        return fingerprint((self.goes_out or "").strip())


@dataclass(frozen=True, kw_only=True)
class RowView:
    """One row as LLaMA-Factory's processor encodes it for the training."""

    row: int  # number of the checked row, from 0
    tokens: int
    trained: int  # tokens with a loss
    spans: tuple[tuple[str, bool], ...]  # its text, cut where training begins or ends; trained?
    all_masked: bool  # nothing is trained
    stop_trained: bool  # a token that ends the turn is


@dataclass(frozen=True, kw_only=True)
class TokenLook:
    """Template, lengths and cutoff of the checked rows, and how some of them are masked.

    Rows are numbered from 0, those to train on and those that the data holds out by themselves.
    Lengths are in tokens, as the trainer gets the row.
    """

    template: TemplateLook
    model: ModelFacts | None  # None: it is of no class that Transformers knows
    context: int | None  # the model's, in tokens
    cutoff: int  # as given, or chosen by the lengths
    rows: int
    tokens: int  # of all rows
    percentiles: Mapping[str, int]  # lengths by name, from min to max
    histogram: tuple[tuple[int, int], ...]  # (upper end, rows) of equally wide ranges of length
    over: Mapping[int, int] = field(default_factory=dict)  # usual cutoff -> rows that are longer
    compared: int = 0  # rows that were rendered by both templates
    sequences: int = 0  # of all rows; more than there are rows where history is rewritten
    unrendered: Mapping[int, str] = field(default_factory=dict)  # row -> why the template refuses
    validation_unrendered: Mapping[int, str] = field(default_factory=dict)
    # row over the cutoff -> its tokens after each round
    overlong: Mapping[int, tuple[int, ...]]
    validation_overlong: Mapping[int, tuple[int, ...]]
    # those of them that hold media
    overlong_media: frozenset[int] = frozenset()
    validation_overlong_media: frozenset[int] = frozenset()
    # row -> why its media cannot be read
    unreadable: Mapping[int, str] = field(default_factory=dict)
    validation_unreadable: Mapping[int, str] = field(default_factory=dict)
    untrained_answers: int = 0  # those with the weight 0
    eos: str | None  # the tokenizer's, as the template sets it
    stop_ids: tuple[int, ...]  # of the tokens that end a turn; empty for text
    vocabulary: int  # of the tokenizer
    media: tuple[str, ...]  # columns of media that the rows have
    views: tuple[RowView, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.percentiles["max"]
