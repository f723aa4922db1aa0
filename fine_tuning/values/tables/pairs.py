"""Which methods go with which stages: all but those refused here, before a model is loaded.

Each pair that is not refused is trained by a test (tests/engine/worker/training/test_pairs.py); the
matrix in `docs/methods.md` is written from what ran (tests/pairs.py).
"""

from collections.abc import Callable

from fine_tuning.values.tables.methods import METHODS, Method
from fine_tuning.values.tables.objectives import OBJECTIVES, Objective


def of_the_model(objective: Objective) -> bool:
    """Whether its loss is the one that the model computes: how likely the text is."""
    return objective.takes in ("chat", "text") and objective.online is None


REFUSED: tuple[tuple[Callable[[Method, Objective], bool], str], ...] = (
    (  # trl/models/modeling_base.py
        lambda method, objective: method.soft_prompt and not objective.answers,
        "--stage {stage} puts a head on the model, which TRL does not put on virtual tokens "
        "(--method {method}): take --method lora, or another one that changes the layers.",
    ),
    (
        lambda method, objective: method.soft_prompt and objective.online is not None,
        "--stage {stage} does not go with virtual tokens (--method {method}): prompts of unequal "
        "length are answered together, and PEFT counts the padding between the two. Take --method "
        "lora.",
    ),
    (  # peft/tuners/adalora/model.py:forward; these take logits, and make losses of their own
        lambda method, objective: method.adds_loss and not of_the_model(objective),
        "--method {method} has a term of its own in the loss, which --stage {stage} would leave "
        "out: it goes with --stage sft and pt. Take --method lora.",
    ),
)


def pair_mismatch(method: str, stage: str) -> str | None:
    """Why the two do not go together, in a sentence; None if they do."""
    for applies, text in REFUSED:
        if applies(METHODS[method], OBJECTIVES[stage]):
            return text.format(method=method, stage=stage)
    return None
