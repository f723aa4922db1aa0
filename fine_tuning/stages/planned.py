"""A training as it was planned: its rows, its model, and all that was chosen for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fine_tuning.dataset.prepare import register
from fine_tuning.disk import files
from fine_tuning.disk.resources import FORGETTING
from fine_tuning.engine.loading import TunedModel, after_training
from fine_tuning.engine.requests import served_request
from fine_tuning.engine.trainers import trainer_of
from fine_tuning.engine.trainers.llamafactory import PREF_BETA
from fine_tuning.engine.trainers.train_yaml import by_hand, train_yaml
from fine_tuning.engine.trainers.trainer import Trainer, TrainSettings
from fine_tuning.errors import DataError
from fine_tuning.screen import Screen
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import GIB, OVERHEAD, MemoryPlan, Places, Plan
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import TokenLook


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a training is made of; `judges` are the reward models that it asks, by their
    directories."""

    spec: RunSpec
    data: CheckedData
    look: TokenLook
    parts: SplitData
    plan: Plan
    places: Places
    judges: Mapping[str, object] = field(default_factory=dict)

    @property
    def trainer(self) -> Trainer:
        """Who trains it."""
        return trainer_of(self.plan.chosen.method, self.stage)

    @cached_property
    def settings(self) -> TrainSettings:
        """What the trainer of this plan is given."""
        chosen, rows = self.plan.chosen, self.plan.rows
        made = self.trainer.settings(self.spec, chosen, rows, self.look, self.places)
        if not self.judges:
            return made
        asked = {**made.of_worker["asked"], "models": to_builtins(self.judges)}
        return replace(made, of_worker={**made.of_worker, "asked": asked})

    @property
    def run_dir(self) -> Path:
        """Where it trains."""
        return self.places.run_dir

    @property
    def stage(self) -> str:
        """By what it learns."""
        return self.plan.rows.stage

    @property
    def never_continues(self) -> str:
        """What it is, if it cannot go on from a checkpoint."""
        if not OBJECTIVES[self.stage].resumable:
            return "a reward model"
        # train/callbacks.py:PissaConvertCallback takes the state of the checkpoint for the first
        return "a training by PiSSA" if self.spec.engine_args.get("pissa_init") else ""

    @property
    def scoring(self) -> Mapping[str, Any] | None:
        """What is scored before and after; None if nothing is held out."""
        if not self.parts.val_path or not self.parts.val_rows or not self.spec.score_samples:
            return None
        objective, made = OBJECTIVES[self.stage], self.settings
        return {
            "rows_path": str(self.parts.val_path),
            "samples": min(self.spec.score_samples, self.parts.val_rows),
            "kind": objective.scored,
            "general": str(FORGETTING) if objective.scored == "answers" else "",
            "general_samples": self.spec.score_samples,
            "served": served_request(self.look.template),
            "reward": objective.reward,
            "beta": self.spec.engine_args.get("pref_beta", PREF_BETA),
            "online": {**made.by_hand["online"], **made.of_worker["asked"]}
            if objective.online
            else None,
        }

    def tuned(self, folder: Path | None = None) -> TunedModel:
        """What it left in the run, or in a checkpoint of it."""
        return after_training(self.settings.by_hand, folder or self.run_dir)

    def write(self) -> tuple[Path, Path]:
        """Write what LLaMA-Factory finds of it by hand, `dataset_info.json` and `train.yaml`, into
        the run; gives their paths."""
        info = self.places.dataset_dir / register.DATASET_INFO
        yaml = self.run_dir / "train.yaml"
        register.write_dataset_info(info, self._entries())
        files.write_text(yaml, train_yaml(self.plan, self.settings, yaml))
        return info, yaml

    def register(self) -> None:
        """List the prepared rows where LLaMA-Factory's WebUI looks."""
        register.register(self.spec.dataset_dir, self._entries())

    def _entries(self) -> dict[str, Any]:
        """LLaMA-Factory's entries of the prepared rows."""
        named = (
            (self.places.train_name, self.parts.train_path),
            (self.places.validation_name, self.parts.val_path),
        )
        return {
            name: register.dataset_entry(self.data.kind, self.data.columns, str(path))
            for name, path in named
            if path is not None
        }

    def show(self, written: tuple[Path, Path], screen: Screen) -> None:
        """`--dry_run`: the memory plan, the two generated files, the engine's command."""
        screen.say(memory_text(self.plan.chosen.memory, self.settings))
        for path in written:
            screen.file(path, path.read_text(encoding="utf-8"))
        screen.say(f"The same training by hand: {by_hand(self.plan, self.settings, written[-1])}")


def places_of(run_dir: Path, model: str) -> Places:
    """Where the parts of a run lie, and by which names LLaMA-Factory finds its rows."""
    dataset = run_dir / "dataset"
    return Places(
        run_dir=run_dir,
        dataset_dir=dataset,
        encoded=dataset / "encoded",
        model=model,
        train_name=register.entry_name(run_dir, "train"),
        validation_name=register.entry_name(run_dir, "validation"),
    )


def planned_in(
    run_dir: Path, stages: Stages, spec: RunSpec, *, location: str | None = None
) -> Planned:
    """The training of a recorded run; `location`: where its base model lies now, if not where it
    lay. Raises DataError if something of it is not recorded."""
    names = ("check", "model", "tokens", "split", "plan")
    found: dict[str, Any] = {name: result_of(getattr(stages, name)) for name in names}
    if missing := [name for name, result in found.items() if result is None]:
        raise DataError(f"The run has no record of: {', '.join(missing)}.", fix="train it again")
    return Planned(
        spec=spec,
        data=found["check"],
        look=found["tokens"],
        parts=found["split"],
        plan=found["plan"],
        places=places_of(run_dir, location or found["model"].location),
    )


def memory_text(memory: MemoryPlan | None, made: TrainSettings) -> str:
    """What one device needs, by what needs it."""
    if memory is None and made.splits_the_model:
        return "Memory: no estimate with DeepSpeed or FSDP, which spread the model over devices."
    if memory is None:
        return "Memory: no estimate for a model of this kind."
    parts = (
        ("frozen weights", memory.weights),
        ("trained ones with gradients and optimizer", memory.training_state),
        ("activations and logits", memory.activations),
        ("overhead", OVERHEAD),
    )
    listed = " + ".join(f"{name} {size / GIB:.1f}" for name, size in parts)
    return (
        f"Memory per device, about {memory.total / GIB:.1f} GiB at {memory.batch_size} rows per "
        f"step: {listed}."
    )
