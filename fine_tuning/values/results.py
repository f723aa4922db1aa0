"""What the later stages of a run give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fine_tuning.values.answers.verdict import Verdict

Unit = Literal["rows", "blocks"]  # blocks: what text is cut into
Metrics = Mapping[str, float | None]  # None: the number was not finite


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """The model that is trained: the name by which it was asked for, and where it lies."""

    name: str
    location: str  # an absolute path, or the name where only the engine finds it
    hashes: Mapping[str, str] = field(default_factory=dict)  # fine_tuning.disk.hashes.of_base_model


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Rows that were encoded ahead of the training, and those of them without a trained token."""

    rows: Mapping[str, int]  # part -> rows
    untrained: Mapping[str, int] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)  # what the rows became, if not one

    @property
    def trained_on(self) -> int:
        """Sequences to train on."""
        return (self.sequences or self.rows)["train"]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the engine has to train on: as it counted after encoding."""

    unit: Unit = "rows"
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training that has come to its end."""

    epochs: float
    encoded: int | None = None  # rows or blocks, as the engine counted them
    expected: Expected = Expected()
    metrics: Metrics = field(default_factory=dict)  # the trainer's last
    before: Metrics = field(default_factory=dict)  # held-out rows, before the first step
    after: Metrics = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # part of the training -> its time
    alarms: tuple[str, ...] = ()  # what a person should know of its answers, with the step
    peak_memory: int | None = None  # bytes on the device
    world_size: int = 1


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How the merged model compares with what was trained; `reason` says why it was not compared.

    `agreement` is the share of positions with the same most likely token; differences are means
    over all logits; `kept` is the share of the change of the weights that rounding has left.
    """

    proved: bool
    reason: str = ""
    against: str = "base + adapter"  # or the trained checkpoint
    rows: int = 0
    agreement: float = 0.0
    mean_logit_difference: float = 0.0
    moved_by_training: float = 0.0
    kept: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Contracted:
    """The contract of what was trained; `reason` says why there is none."""

    path: Path
    hash: str = ""
    conversations: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RewardProof:
    """How rewards of the exported classifier compare with those of the trained value head.

    They are `constant` lower (the head's bias, which a classifier has not), and else differ by
    `apart` at most, which is what rounding the merged weights costs; `spread` is between the
    highest and the lowest reward. `same_ids`: the exported chat template makes the ids of these
    conversations that were trained.
    """

    constant: float
    apart: float
    spread: float
    conversations: int
    same_ids: bool


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A merged model on disk."""

    path: Path
    dtype: str
    bytes: int
    checkpoint: str = ""  # its name, if it is not the end of the training
    scores: Metrics = field(default_factory=dict)  # of the checkpoint, on the held-out rows
    by_shards: bool = False  # one at a time, because the memory holds no whole model
    stop_ids: tuple[int, ...] = ()
    proof: Proof | None = None
    rewards: RewardProof | None = None  # of a reward model
    writing: Mapping[str, Any] = field(default_factory=dict)  # how it was cut into files
    hashes: Mapping[str, str] = field(default_factory=dict)  # of its files, by their names
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Combined:
    """An adapter made of several ones.

    `apart`: the distance of what it adds to the base model from the weighted sum of what they add,
    as a share of that sum's norm.
    """

    path: Path
    rank: int
    layers: int
    apart: float
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What a model's own tokenizer makes of texts (ids without those that it puts around a text)
    and of conversations, as ids and as text (None: its template refuses them, or there is none);
    the texts of the tokens that end an answer, and of the one that it puts before a text."""

    texts: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...] | None, ...]
    rendered: tuple[str | None, ...]
    template: str | None
    stops: tuple[str, ...]
    begins: str = ""


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """A model in one file, for llama.cpp and Ollama."""

    path: Path
    type: str
    bytes: int
    hash: str
    verdict: Verdict | None = None  # how llama.cpp answers with it; None: it was not asked


@dataclass(frozen=True, kw_only=True)
class GgufFiles:
    """GGUF files of one merged model; `made_of` tells it from others. `projector` is the part that
    takes pictures or sounds."""

    model: Path
    made_of: str
    files: tuple[GgufFile, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)  # format -> why it was not kept
    projector: GgufFile | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The rows of the training that a format was fitted to, drawn with this seed."""

    rows: int
    tokens: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A merged model in a format for GPU servers. `group`: inputs that share a scale (0: all);
    `verdict`: how Transformers answers the contract with it (None: it was not asked)."""

    path: Path
    format: str
    method: str
    group: int
    calibration: Calibration | None
    layers: int
    bytes: int
    hashes: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class OllamaModel:
    """What Ollama is given. `created`: it has made the model, and counted as many tokens in
    `prompts` conversations as the trained tokenizer. `template`: the Modelfile has one of Ollama's
    kind; `verdict`: how it answers the contract (None: it was not asked)."""

    name: str
    modelfile: Path
    created: bool
    prompts: int = 0
    template: bool = False
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run stopped: the parts of a FineTuningError."""

    what: str
    why: str = ""
    fix: str = ""
