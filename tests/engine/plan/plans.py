"""A plan and what its trainer is given, for devices that are not there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fine_tuning.engine.plan.make import make_plan
from fine_tuning.engine.trainers import trainer_of
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.values.plan import MemoryPlan, Places, Plan, Rows
from fine_tuning.values.shown import Choice
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook
from tests.looks import look_of

CPU = {"kind": "cpu", "names": [], "memory": [], "bf16": False, "torch": "2", "cuda": None}


GPU = {
    "kind": "cuda",
    "names": ["H200"],
    "memory": [141 * 1024**3],
    "bf16": True,
    "torch": "2",
    "cuda": "13",
}


OLD_GPU = {**GPU, "names": ["T4"], "memory": [16 * 1024**3], "bf16": False}


LOOK_7B = look_of(tokens=400_000, overlong={})


ROWS = Rows(kind="chat", stage="sft", train=900, validation=100, tokens=400_000)


PLACES = Places(
    run_dir=Path("/r"),
    dataset_dir=Path("/r/dataset"),
    encoded=Path("/r/dataset/encoded"),
    model="/m",
    train_name="d-train",
    validation_name="d-validation",
)


@dataclass(frozen=True)
class Made:
    """A plan, and what its trainer is given."""

    plan: Plan
    train: TrainSettings

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.train.by_hand

    @property
    def worker_settings(self) -> Mapping[str, Any]:
        return self.train.of_worker

    @property
    def choices(self) -> tuple[Choice, ...]:
        return self.plan.choices

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.plan.warnings

    @property
    def memory(self) -> MemoryPlan | None:
        return self.plan.chosen.memory


def plan(
    spec: RunSpec | None = None,
    devices: dict[str, Any] = CPU,
    look: TokenLook = LOOK_7B,
    **rows: Any,
) -> Made:
    spec = spec or RunSpec()
    made = make_plan(
        spec,
        sources={},
        rows=replace(ROWS, **rows),
        look=look,
        devices=devices,
        places=PLACES,
    )
    trainer = trainer_of(made.chosen.method, made.rows.stage)
    return Made(made, trainer.settings(spec, made.chosen, made.rows, look, PLACES))
