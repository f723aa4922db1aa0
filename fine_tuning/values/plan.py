"""What a plan is made from, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.values.shown import Choice
from fine_tuning.values.tables.kinds import Kind

GIB = 1024**3
OVERHEAD = 1.0 * GIB  # CUDA context, scratch space of kernels
USABLE = 0.95  # of the memory that is free; the rest is lost between blocks


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that one device needs at its peak, by what needs them, for `batch_size` rows a step."""

    batch_size: int
    weights: float  # those that are not trained
    training_state: float  # the trained ones, their gradients, the optimizer's state
    activations: float  # with the logits

    @property
    def total(self) -> float:
        """All of it, with the fixed overhead."""
        return self.weights + self.training_state + self.activations + OVERHEAD

    def fits(self, available: float) -> bool:
        """Whether it fits into so many bytes."""
        return self.total <= USABLE * available


@dataclass(frozen=True)
class Stored:
    """Bytes that a checkpoint takes of the disk."""

    weights: float  # as the end of the training leaves them too
    optimizer: float

    @property
    def total(self) -> float:
        """Of a whole checkpoint."""
        return self.weights + self.optimizer


@dataclass(frozen=True)
class Decision:
    """A setting of the engine that was chosen, and why."""

    name: str
    value: Any
    why: str


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Every decision. `why` holds the reasons, by the names of the table that is shown."""

    device_type: str  # cuda, mps, cpu
    processes: int
    world: int
    method: str
    quantization: str
    precision: str
    optimizer: str
    cutoff: int
    batch: int
    accumulation: int
    rate: float
    per_epoch: int
    steps: int
    memory: MemoryPlan | None  # None where it was not estimated
    stored: Stored | None = None
    warnings: tuple[str, ...] = ()
    decided: tuple[Decision, ...] = ()  # further settings, in the engine's names
    why: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the plan needs to know of the prepared rows."""

    kind: Kind
    stage: str
    train: int
    validation: int
    tokens: int
    packed: bool = False  # text that the engine joins and cuts into blocks
    held_out: float | None = None  # share of the text, by its size (None: as of the rows)
    encoded_ahead: bool = False  # the engine is given ids, not text

    def blocks(self, part: int, cutoff: int) -> int:
        """Blocks that a part of the text fills, about, if it is packed; the rest is dropped.

        Rows that are not packed: as many as there are.
        """
        if not self.packed:
            return part
        share = part / max(1, self.train + self.validation)
        return max(1, int(self.tokens * share) // cutoff)

    @property
    def held_out_tokens(self) -> int:
        """Of the validation rows, about: a few long texts may hold most of the tokens."""
        by_rows = self.validation / max(1, self.train + self.validation)
        return int(self.tokens * (by_rows if self.held_out is None else self.held_out))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the parts of a run lie, and by which names the engine finds its rows."""

    run_dir: Path
    dataset_dir: Path
    encoded: Path  # rows that are encoded ahead of the training
    model: str  # a path, or a name that only the engine resolves
    train_name: str
    validation_name: str

    @property
    def kept(self) -> Path:
        """What the look at the tokens has made of the rows, until they are encoded."""
        return kept_in(self.dataset_dir)


def kept_in(dataset: Path) -> Path:
    """Where encoded rows are kept from the look at them to their encoding."""
    return dataset / "kept"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every choice of a training in words of our own; a trainer makes its settings of them."""

    chosen: Chosen
    rows: Rows
    gpus: int  # that the machine has
    choices: tuple[Choice, ...]  # the table that is shown
    warnings: tuple[str, ...] = ()
