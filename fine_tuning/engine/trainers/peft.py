"""Methods of PEFT that LLaMA-Factory does not know, on its own loading, template and data.

LLaMA-Factory would refuse such a `finetuning_type`; our worker puts the adapter in its place
(engine/worker/training/adapters/peft.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fine_tuning.engine.trainers import llamafactory
from fine_tuning.engine.trainers.blocks import expected
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.errors import UsageError
from fine_tuning.units import counted
from fine_tuning.values.plan import Chosen, Places, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tokens import TokenLook

__all__ = ["expected", "settings"]  # a Trainer

PROMPT = "You are a helpful assistant. Read what the user asks, and give the answer that is wanted."
LEAST_BUDGETED = 2
ALONE = "LLaMA-Factory alone does not know this method"


def _prompt(spec: RunSpec) -> dict[str, Any]:
    return {"num_virtual_tokens": spec.num_virtual_tokens, "init_text": spec.prompt_init or PROMPT}


def _budget(spec: RunSpec) -> dict[str, Any]:
    """AdaLoRA's ranks: each weight begins with half as many again as are left of them on average
    (Zhang et al., arXiv:2303.10512, section 4.1)."""
    return {"rank": spec.lora_rank, "init_rank": math.ceil(1.5 * spec.lora_rank)}


def _nothing(spec: RunSpec) -> dict[str, Any]:
    return {}


# What each method is configured with; PEFT's own class by its name in the worker.
CONFIGURED: Mapping[str, Callable[[RunSpec], dict[str, Any]]] = {
    "prompt_tuning": _prompt,
    "prefix_tuning": _prompt,
    "p_tuning": lambda spec: {"num_virtual_tokens": spec.num_virtual_tokens},
    "ia3": _nothing,
    "vera": _nothing,
    "ln_tuning": _nothing,
    "adalora": _budget,
}


def settings(
    spec: RunSpec, chosen: Chosen, rows: Rows, look: TokenLook, places: Places
) -> TrainSettings:
    """LLaMA-Factory's settings for the same rows, and what the adapter is."""
    if chosen.method == "adalora" and chosen.steps < LEAST_BUDGETED:
        raise UsageError(
            f"--method adalora needs at least {LEAST_BUDGETED} steps to give its ranks out, and "
            f"this training has {counted(chosen.steps, 'step')}.",
            fix="give more rows or --epochs, or take --method lora",
        )
    made = llamafactory.settings(spec, replace(chosen, method="lora"), rows, look, places)
    keeps = METHODS[chosen.method].has_rank
    by_hand = {
        name: value for name, value in made.by_hand.items() if keeps or not name.startswith("lora_")
    }
    by_hand |= {"finetuning_type": chosen.method, "peft": CONFIGURED[chosen.method](spec)}
    if not METHODS[chosen.method].checkpoints:
        by_hand["disable_gradient_checkpointing"] = True
    return TrainSettings(by_hand=by_hand, of_worker=made.of_worker, alone=ALONE)
