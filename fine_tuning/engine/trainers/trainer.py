"""What a trainer is: neutral choices in, what its engine is given out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fine_tuning.values.data import SplitData
from fine_tuning.values.plan import Chosen, Places, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook

# Settings that say where the run lies: it may be moved or copied.
PLACES = frozenset({"output_dir", "dataset", "eval_dataset", "dataset_dir", "tokenized_path"})
# Those that follow from the number of steps.
OF_LENGTH = frozenset({"num_train_epochs", "save_steps", "eval_steps", "logging_steps"})

# Those that follow from free memory and cores, and train the same.
OF_DEVICE = frozenset({"disable_gradient_checkpointing", "preprocessing_num_workers"})


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of `train.yaml`, which hold by hand too, and those that only our worker adds."""

    by_hand: Mapping[str, Any]
    of_worker: Mapping[str, Any] = field(default_factory=dict)
    alone: str = ""  # why LLaMA-Factory alone cannot do this training; empty if it can

    @property
    def all(self) -> dict[str, Any]:
        """What our worker is given."""
        return {**self.by_hand, **self.of_worker}

    @property
    def evaluates(self) -> bool:
        """Whether held-out rows are read by the engine."""
        return "eval_dataset" in self.all

    @property
    def splits_the_model(self) -> bool:
        """Whether DeepSpeed or FSDP spread the model over the devices."""
        return bool(self.by_hand.get("deepspeed") or self.by_hand.get("fsdp"))

    @property
    def keeps_no_optimizer(self) -> bool:
        """Whether checkpoints hold the model alone."""
        return bool(self.by_hand.get("save_only_model"))

    @property
    def first_logged(self) -> int:
        """The first step of which a loss is told."""
        return int(self.all.get("logging_steps", 1))

    @property
    def of_training(self) -> dict[str, Any]:
        """All but the places: what makes one training another."""
        return {name: value for name, value in self.by_hand.items() if name not in PLACES}


def differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings by which one training differs from another: name, value then, value now.

    Those of the device may differ, and with more epochs those that follow from the number of steps.
    """
    more = float(begun["num_train_epochs"]) < float(now["num_train_epochs"])
    may_differ = OF_DEVICE | (OF_LENGTH if more else frozenset())
    return [
        (name, begun.get(name), now.get(name))
        for name in sorted({*begun, *now} - may_differ)
        if begun.get(name) != now.get(name)
    ]


def as_begun(spec: RunSpec, begun: Mapping[str, Any] | None) -> RunSpec:
    """With the batches of the training that has begun: today another part of a GPU may be free."""
    if begun is None:
        return spec
    accumulation = "gradient_accumulation_steps"
    return spec.replace(
        batch_size=spec.batch_size or begun.get("per_device_train_batch_size"),
        engine_args={accumulation: begun.get(accumulation, 1), **spec.engine_args},
    )


class Trainer(Protocol):
    """One module of this folder."""

    def settings(
        self, spec: RunSpec, chosen: Chosen, rows: Rows, look: TokenLook, places: Places
    ) -> TrainSettings:
        """What the engine is given, made of the choices. UsageError for what it cannot do."""

    def expected(self, made: TrainSettings, parts: SplitData, places: Places) -> dict[str, Any]:
        """What the engine must have encoded (engine/worker/training/balance.py)."""
