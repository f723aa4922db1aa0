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
def weights_unpacked() -> Iterator[None]:
    """Models loaded inside keep their 4-bit weights as they are, whatever is asked of them.

    bitsandbytes repacks such a weight when it is first used in evaluation mode on a CPU with
    AVX512-BF16 (nn/modules.py:Linear4bit.forward). What is packed has no backward pass for the
    layer's input: a training that goes on trains another adapter, or fails if there are biases.
    """
    try:
        from bitsandbytes.nn import modules
    except ImportError:  # then nothing is quantised
        yield
        return
    known = modules.has_avx512bf16
    modules.has_avx512bf16 = lambda: False
    try:
        yield
    finally:
        modules.has_avx512bf16 = known


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
