"""Which kinds of training fit which kinds of rows."""

from fine_tuning.dataset.types import Kind

STAGES_OF_KIND: dict[str, tuple[str, ...]] = {
    "chat": ("sft",),
    "text": ("pt",),
    "preference": ("dpo", "rm", "orpo", "simpo"),
    "kto": ("kto",),
}
ROWS_OF_KIND = {
    "chat": "prompts with answers",
    "text": "plain text",
    "preference": "pairs of a chosen and a rejected answer",
    "kto": "answers labelled true or false",
}


def default_stage(kind: Kind) -> str | None:
    """The stage of a kind; None where several fit and the user must name one."""
    stages = STAGES_OF_KIND[kind]
    return stages[0] if len(stages) == 1 else None


def stage_mismatch(kind: Kind, stage: str | None) -> str | None:
    """Why this stage cannot train on these rows, and which can; None if it can."""
    fitting = STAGES_OF_KIND[kind]
    if stage in fitting:
        return None
    named = ", ".join(f"--stage {name}" for name in fitting)
    if stage is None:
        if len(fitting) == 1:
            return None
        return f"the data holds {ROWS_OF_KIND[kind]}; say what to do with it: {named}"
    return f"--stage {stage} cannot train on {ROWS_OF_KIND[kind]}; this data fits {named}"
