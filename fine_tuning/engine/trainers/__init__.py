"""Neutral choices -> what an engine is given. A new trainer is a module and a line here."""

from collections.abc import Mapping

from fine_tuning.engine.trainers import llamafactory, online, peft
from fine_tuning.engine.trainers.trainer import Trainer
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES

TRAINERS: Mapping[str, Trainer] = {"llamafactory": llamafactory, "peft": peft, "online": online}


def trainer_of(method: str, stage: str) -> Trainer:
    """The trainer of a method, in this kind of training."""
    return TRAINERS["online" if OBJECTIVES[stage].online else METHODS[method].trainer]
