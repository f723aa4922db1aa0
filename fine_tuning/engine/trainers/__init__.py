"""Neutral choices -> what an engine is given. A new trainer is a module and a line here."""

from collections.abc import Mapping

from fine_tuning.engine.trainers import llamafactory, peft
from fine_tuning.engine.trainers.trainer import Trainer
from fine_tuning.values.methods import METHODS

TRAINERS: Mapping[str, Trainer] = {"llamafactory": llamafactory, "peft": peft}


def trainer_of(method: str) -> Trainer:
    """The trainer of a method."""
    return TRAINERS[METHODS[method].trainer]
