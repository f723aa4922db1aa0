"""What is evaluated beside a training must leave no trace in it."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from fine_tuning.engine.defects import REPACKED_4BIT


@dataclass(frozen=True)
class RandomStates:
    """Where the generators of random numbers stand."""

    python: Any
    numpy: Any
    torch: Any
    gpus: Any

    @classmethod
    def now(cls) -> "RandomStates":
        """Where they stand now."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus)

    def set(self) -> None:
        """Go back there."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """The random numbers drawn inside are drawn again after it."""
    states = RandomStates.now()
    try:
        yield
    finally:
        states.set()


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
