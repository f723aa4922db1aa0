"""A reward model must read what is trained to be written: the same tokens, by the same template."""

from collections.abc import Sequence
from typing import Any

from fine_tuning.engine.worker.online.asking import Question
from fine_tuning.engine.worker.online.judging import Judge
from fine_tuning.engine.worker.scoring.inputs.prompts import Prompts
from fine_tuning.errors import UsageError

COMPARED = 8  # rows
FIX = "train the reward model (--stage rm) from the same base model, with the same --template"


def require_same_reading(
    judge: Judge, name: str, tokenizer: Any, prompts: Prompts, questions: Sequence[Question]
) -> None:
    """Raise UsageError for a reward model whose tokenizer or template differs from that of the
    model `name`: its rewards would be for other conversations than it was trained on."""
    rows = [it.source for it in questions[:COMPARED]]
    for folder, model in judge.models.items():
        theirs, ours = model.tokenizer.get_vocab(), tokenizer.get_vocab()
        if theirs != ours:
            token = next(it for it in (*ours, *theirs) if ours.get(it) != theirs.get(it))
            raise UsageError(
                f"The reward model {folder} has another tokenizer than {name}: the token "
                f"{token!r} is number {theirs.get(token)} there and {ours.get(token)} here.",
                fix=FIX,
            )
        for there, here in zip(model.ids(rows), prompts.conversations(rows), strict=True):
            if there != here:
                pairs = enumerate(zip(there, here, strict=False))
                at = next((i for i, (a, b) in pairs if a != b), min(len(there), len(here)))
                shown = [repr(tokenizer.decode(ids[at : at + 6])) for ids in (there, here)]
                raise UsageError(
                    f"The reward model {folder} has another template than {name}: from token {at} "
                    f"on it reads {shown[0]} where this model is trained with {shown[1]}.",
                    fix=FIX,
                )
