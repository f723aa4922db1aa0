"""What the checkpoints of a training take of the disk, and whether there is room for them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.disk.checkpoints import bytes_of_checkpoints
from fine_tuning.disk.paths import shown
from fine_tuning.engine.plan.memory.peak import optimizer_bytes
from fine_tuning.engine.plan.memory.weights import TRAINED, Step, frozen_bytes, trained_numbers
from fine_tuning.errors import EnvironmentProblem
from fine_tuning.units import bytes_text
from fine_tuning.values.plan import Chosen, Stored
from fine_tuning.values.tokens import ModelFacts

SHARDED = ("deepspeed", "fsdp")  # they write files of their own
SMALLER = (
    "free space, name a place on another disk with --output_dir, or keep less: "
    "--save_total_limit 1 keeps one checkpoint, --save_only_model true leaves the optimizer's "
    "state out (then a training that was stopped does not go on)"
)


def stored(model: ModelFacts | None, step: Step) -> Stored | None:
    """Bytes of a checkpoint; None where they are not known.

    Trained weights and the optimizer's state are written as the training keeps them
    (transformers/trainer.py, `_save_checkpoint`), beside an adapter's none of the base, else all.
    """
    if model is None or not model.weights or step.method not in TRAINED:
        return None
    if any(step.given.get(name) for name in SHARDED):
        return None
    trained = sum(trained_numbers(it, step, model) for it in model.weights)
    share = TRAINED[step.method].share
    weights = trained * step.trained_bytes
    if not step.adapts:
        weights += sum(
            (1 - share(it, step, model)) * frozen_bytes(it, step, model) for it in model.weights
        )
    without = step.given.get("save_only_model")
    return Stored(weights, 0.0 if without else optimizer_bytes(trained, step))


def require_room(chosen: Chosen, settings: Mapping[str, Any], folder: Path) -> str:
    """What to warn of where the disk of the run has no room for all checkpoints that it keeps.

    One more than are kept lies there while it is written, and the weights in the end. Raises
    EnvironmentProblem where there is no room for the first one.
    """
    one = chosen.stored
    if one is None:
        return ""
    every = {"no": chosen.steps + 1, "epoch": chosen.per_epoch}
    steps = every.get(str(settings.get("save_strategy")), settings.get("save_steps"))
    made = chosen.steps // max(1, int(steps or 1))
    kept = int(settings.get("save_total_limit") or made)
    free = shutil.disk_usage(folder).free + bytes_of_checkpoints(folder)
    needed = one.weights + min(made, kept + 1) * one.total
    if free < one.weights + min(made, 1) * one.total:
        raise EnvironmentProblem(
            f"A checkpoint of this training takes {bytes_text(one.total)} of the disk and the "
            f"weights in the end {bytes_text(one.weights)}, and {shown(folder)} has "
            f"{bytes_text(free)} free.",
            fix=SMALLER,
        )
    if free < needed:
        return (
            f"checkpoints and weights take up to {bytes_text(needed)} of the disk, and "
            f"{shown(folder)} has {bytes_text(free)} free; --save_total_limit 1 keeps one "
            "checkpoint, --save_only_model true leaves the optimizer's state out"
        )
    return ""
