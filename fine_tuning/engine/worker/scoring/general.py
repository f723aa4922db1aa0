"""The general rows that come along, which show what a training makes a model forget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.scoring.asking import NotScored, losses_of
from fine_tuning.engine.worker.scoring.generate import answer_prompts, scoring_mode
from fine_tuning.engine.worker.scoring.inputs.batches import Said
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.errors import DataError
from fine_tuning.values.answers.scores import RowLoss, Scored

SHOWN = 5  # of those that lost most
MOST_TOKENS = 32  # their beginning shows what an answer has become


def general_scores(
    model: MediaModel, path: Path, samples: int, said: Said, before: Scored | None
) -> dict[str, Any]:
    """The loss of each answer of the file, and what the model answers: before a training to the
    first `samples` rows, after it to those of them that lost most. Nothing if this model cannot be
    asked them.
    """
    try:
        with scoring_mode(model.model):
            rows = [*read_rows(path)]
            losses = losses_of(model, rows, said)
            asked = [*range(min(samples, len(rows)))]
            if before is not None:
                asked = lost_most(before.general[: len(asked)], losses[: len(asked)])
            prompts = [prompt for prompt, _ in model.prompts.pairs([rows[row] for row in asked])]
            given = answer_prompts(
                model.model,
                model.tokenizer,
                model.stop_ids,
                prompts,
                lambda done, total: None,
                said,
                MOST_TOKENS,
            )
    except (DataError, NotScored) as error:
        said(f"what is forgotten is not measured: {error}")
        return {"general": []}
    answers = [
        (row, it.text.strip() + ("" if it.stopped else " …"))
        for row, it in zip(asked, given, strict=True)
    ]
    return {"general": losses, "general_answers": answers}


def lost_most(before: Sequence[RowLoss], after: Sequence[RowLoss]) -> list[int]:
    """The rows whose loss a token rose most, the most first; none if others were measured then."""
    if len(before) != len(after):
        return []
    rises = [_rise(*sides) for sides in zip(before, after, strict=True)]
    order = sorted(range(len(rises)), key=lambda row: rises[row], reverse=True)
    return [row for row in order if rises[row] > 0][:SHOWN]


def _rise(before: RowLoss, after: RowLoss) -> float:
    """In nats a token; 0 where it is not known."""
    sides = [
        nats / count if nats is not None and count else None for nats, count in (before, after)
    ]
    return 0.0 if sides[0] is None or sides[1] is None else sides[1] - sides[0]
