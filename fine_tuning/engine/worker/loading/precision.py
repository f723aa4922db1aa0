"""Models of which PEFT keeps whole modules in more bits than the rest has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.utils.other import AuxiliaryTrainingWrapper

# They hand on what their own numbers make of an input. PEFT's other layers cast it to and fro.
WHOLE = (LNTuningLayer, AuxiliaryTrainingWrapper)
HALVES = (torch.bfloat16, torch.float16)


@contextmanager
def in_one_precision(network: Any) -> Iterator[None]:
    """Inside, the parts of a model compute together.

    LLaMA-Factory keeps trained weights in float32 beside a base in 16 bits (model/adapter.py), and
    casts in the forward pass of a training alone: `generate` goes past it, and a matrix in 16 bits
    meets numbers in 32. Here autocast does what it does there. Any other model is left as it is.
    """
    parts = [module for module in network.modules() if isinstance(module, WHOLE)]
    wide = any(it.dtype == torch.float32 for part in parts for it in part.parameters())
    narrow = next((it for it in network.parameters() if it.dtype in HALVES), None)
    if not wide or narrow is None:
        yield
        return
    with torch.autocast(narrow.device.type, narrow.dtype):
        yield
