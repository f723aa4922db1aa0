"""What is evaluated beside a training must leave no trace in it."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from fine_tuning.engine.defects import REPACKED_4BIT


@contextmanager
def random_states_kept() -> Iterator[None]:
    """The random numbers drawn inside are drawn again after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


@contextmanager
def evaluated_unseen(settings: Mapping[str, Any]) -> Iterator[None]:
    """Where `train.yaml` must not evaluate and this worker does, both train the same weights: an
    evaluation draws random numbers, which dropout would then draw otherwise."""
    known = Trainer.evaluate

    def evaluate(trainer: Any, *given: Any, **named: Any) -> Any:
        with random_states_kept():
            return known(trainer, *given, **named)

    if REPACKED_4BIT.applies(settings):
        Trainer.evaluate = evaluate
    try:
        yield
    finally:
        Trainer.evaluate = known
