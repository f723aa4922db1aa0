"""What is known of a run: the one type that `run.json` is written from and read into."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from fine_tuning.values.answers.ladder import Ladder
from fine_tuning.values.answers.scores import Score
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import Plan
from fine_tuning.values.results import (
    BaseModel,
    Contracted,
    Encoded,
    Failure,
    GgufFile,
    GgufFiles,
    Merged,
    OllamaModel,
    Quantized,
    Trained,
)
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook

SCHEMA = 2
Status = Literal["running", "done", "failed", "interrupted", "dry_run"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One earlier run of a chain, as it was when the next one started from it."""

    run: str  # its folder
    stage: str
    method: str
    model: str  # what it was trained on
    data: tuple[str, ...]
    rows: int  # that were trained
    epochs: float
    created: float  # seconds since 1970
    scores: tuple[str, ...] = ()  # before and after, a line each
    weights: str = ""  # the beginning of the hash of what it left; empty: it was not noted
    chat_template: str | None = None  # a hash of the trained one; None: it was trained on text


@dataclass(frozen=True, kw_only=True)
class Done(Generic[T]):
    """A stage that was done: what it gave, from which inputs (a hash), when, and for how long."""

    inputs: str
    began: float  # seconds since 1970
    seconds: float
    result: T


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The stages of a run that were done, by their names."""

    check: Done[CheckedData] | None = None
    model: Done[BaseModel] | None = None
    tokens: Done[TokenLook] | None = None
    split: Done[SplitData] | None = None
    plan: Done[Plan] | None = None
    encode: Done[Encoded] | None = None
    train: Done[Trained] | None = None
    contract: Done[Contracted] | None = None
    merge: Done[Merged] | None = None
    gguf: Done[GgufFiles] | None = None
    gguf_adapter: Done[GgufFile] | None = None
    ladder: Done[Ladder] | None = None
    ollama: Done[OllamaModel] | None = None
    quantize: Done[Quantized] | None = None
    weigh: Done[tuple[Score, ...]] | None = None

    def having(self, name: str, done: "Done[Any] | None") -> "Stages":
        """The same with this stage."""
        changes: dict[str, Any] = {name: done}
        return replace(self, **changes)

    @property
    def seconds(self) -> dict[str, float]:
        """How long each took, in their order; training and merging by their parts."""
        found: dict[str, float] = {}
        for item in fields(self):
            done = getattr(self, item.name)
            if done is not None:
                parts = getattr(done.result, "seconds", None)
                found.update(parts or {item.name: done.seconds})
        return found


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run. `begun` is what the trainer was given when the training began; None: it did not.

    `unfinished`: seconds of stages that ended before their end, by their names.
    `attempted`: a training ended before it left anything, and was forgotten.
    `chain`: the runs before it, if it started from the model of another one.
    """

    schema: int = SCHEMA
    place: str = ""  # where the run lay when this was written: it may be moved
    created: Annotated[float, msgspec.Meta(ge=0, lt=32503680000)]  # seconds since 1970, to 3000
    command: str
    status: Status = "running"
    failure: Failure | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: RunSpec
    sources: Mapping[str, Source] = field(default_factory=dict)
    begun: Mapping[str, Any] | None = None
    attempted: bool = False
    unfinished: Mapping[str, float] = field(default_factory=dict)
    chain: tuple[Link, ...] = ()
    stages: Stages = Stages()

    @property
    def is_trained(self) -> bool:
        """Whether a training has come to its end here, and none has begun since."""
        return self.stages.train is not None


def result_of(done: Done[T] | None) -> T | None:
    """What a stage gave; None if it was not done."""
    return None if done is None else done.result
