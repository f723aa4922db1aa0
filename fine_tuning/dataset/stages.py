"""Which kind of training fits which kind of rows."""

from collections.abc import Mapping

from fine_tuning.values.data import Kind

STAGES_FOR: Mapping[Kind, tuple[str, ...]] = {
    "chat": ("sft",),
    "text": ("pt",),
    "preference": ("dpo", "rm", "orpo", "simpo"),
    "kto": ("kto",),
}
ROWS_ARE: Mapping[Kind, str] = {
    "chat": "conversations with one answer",
    "text": "plain text",
    "preference": "pairs of a chosen and a rejected answer",
    "kto": "answers that are marked good or bad",
}


def default_stage(kind: Kind) -> str | None:
    """The stage that fits the rows; None where the user must choose between several."""
    fitting = STAGES_FOR[kind]
    return fitting[0] if len(fitting) == 1 else None


def stage_mismatch(kind: Kind, stage: str | None) -> str | None:
    """Why rows of this kind cannot be used for the stage, and which stages they fit."""
    fitting = STAGES_FOR[kind]
    if stage in fitting:
        return None
    ways = " or ".join(f"--stage {name}" for name in fitting)
    if stage is None:
        return f"The rows are {ROWS_ARE[kind]}: say how to train on them with {ways}."
    needs = next(k for k, names in STAGES_FOR.items() if stage in names)
    return (
        f"--stage {stage} needs {ROWS_ARE[needs]}, but these rows are {ROWS_ARE[kind]}; "
        f"they fit {ways}."
    )
