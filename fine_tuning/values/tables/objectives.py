"""What a training optimises, one row a stage (`--stage`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fine_tuning.values.tables.kinds import KINDS, Kind


@dataclass(frozen=True, kw_only=True)
class Online:
    """How a model learns from its own answers and their rewards, if nothing else is asked for."""

    group: int  # answers to a prompt, which are compared with one another
    beta: float  # weight of the distance (KL) from the model as it was


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One kind of training: the rows it takes, its usual peak learning rates, how it is scored.

    The rates are where users' recipes start with a model of about 7 billion parameters. For
    adapters: LLaMA-Factory's examples/train_lora, but for answers QLoRA's 2e-4 (Dettmers et al.,
    arXiv:2305.14314, table 9). For whole models: its examples/train_full; for preferences Zephyr's
    5e-7 (Tunstall et al., arXiv:2310.16944).
    """

    takes: Kind
    adapter_rate: float
    model_rate: float
    scored: Literal["answers", "text", "rewards", "judged"]  # what held-out rows are asked for
    # What ranks the answers of held-out rows, if preferences are trained: the value head; how much
    # likelier than before the training; or how likely each token is.
    reward: Literal["head", "likelier", "likely"] | None = None
    refers: bool = False  # its loss compares with the model as it was before the training
    answers: bool = True  # the model says something; else it gives scores
    fits_small_models: bool = False  # the rate grows as models shrink (engine/plan/choose.py)
    resumable: bool = True  # whether the engine can continue it from a checkpoint
    online: "Online | None" = None  # it learns from answers of its own

    def rate(self, leaves: Literal["adapter", "model"]) -> float:
        """The usual peak learning rate."""
        return self.adapter_rate if leaves == "adapter" else self.model_rate


OBJECTIVES: Mapping[str, Objective] = {
    "sft": Objective(
        takes="chat",
        adapter_rate=2e-4,
        model_rate=1e-5,
        scored="answers",
        fits_small_models=True,
    ),
    "pt": Objective(
        takes="text", adapter_rate=1e-4, model_rate=1e-5, scored="text", fits_small_models=True
    ),
    "dpo": Objective(
        takes="preference",
        adapter_rate=5e-6,
        model_rate=5e-7,
        scored="answers",
        reward="likelier",
        refers=True,
    ),
    # the value head lies beside the model, where the engine does not look when it continues
    "rm": Objective(
        takes="preference",
        adapter_rate=1e-4,
        model_rate=1e-5,
        scored="rewards",
        reward="head",
        answers=False,
        resumable=False,
    ),
    "orpo": Objective(
        takes="preference",
        adapter_rate=5e-6,
        model_rate=5e-7,
        scored="answers",
        reward="likely",
    ),
    "simpo": Objective(
        takes="preference",
        adapter_rate=5e-6,
        model_rate=5e-7,
        scored="answers",
        reward="likely",
    ),
    "kto": Objective(
        takes="kto",
        adapter_rate=5e-6,
        model_rate=5e-7,
        scored="answers",
        reward="likelier",
        refers=True,
    ),
    # Groups and the weight of the distance: Shao et al. (arXiv:2402.03300, section 4.2) take 64
    # answers and 0.04, TRL's examples 8; Ahmadian et al. (arXiv:2402.14740) 2 to 4 and TRL 0.05.
    "grpo": Objective(
        takes="chat",
        adapter_rate=1e-5,
        model_rate=1e-6,
        scored="judged",
        refers=True,
        fits_small_models=True,
        online=Online(group=8, beta=0.04),
    ),
    "rloo": Objective(
        takes="chat",
        adapter_rate=1e-5,
        model_rate=1e-6,
        scored="judged",
        refers=True,
        fits_small_models=True,
        online=Online(group=4, beta=0.05),
    ),
}


def stages_for(kind: Kind) -> tuple[str, ...]:
    """The stages that train on such rows."""
    return tuple(name for name, objective in OBJECTIVES.items() if objective.takes == kind)


def default_stage(kind: Kind) -> str | None:
    """The stage that fits the rows; None where the user must choose between several.

    One that needs rewards is only taken if it is named.
    """
    fitting = [name for name in stages_for(kind) if not OBJECTIVES[name].online]
    return fitting[0] if len(fitting) == 1 else None


def stage_mismatch(kind: Kind, stage: str | None) -> str | None:
    """Why rows of this kind cannot be used for the stage, and which stages they fit."""
    fitting = stages_for(kind)
    if stage in fitting:
        return None
    ways = " or ".join(f"--stage {name}" for name in fitting)
    if stage is None:
        return f"The rows are {KINDS[kind].rows_are}: say how to train on them with {ways}."
    needs = KINDS[OBJECTIVES[stage].takes].rows_are
    return (
        f"--stage {stage} needs {needs}, but these rows are {KINDS[kind].rows_are}; "
        f"they fit {ways}."
    )
