"""Rows put to a loaded model: the losses of their answers, and what it answers by itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fine_tuning.engine.worker.scoring.generate import (
    Given,
    Limit,
    Progress,
    RowLoss,
    answer,
    answer_loss,
    answer_loss_with_media,
    answer_with_media,
)
from fine_tuning.engine.worker.scoring.inputs.batches import OutOfMemory, Said
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.scoring.rewards.values import head_values
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import with_answer
from fine_tuning.values.answers.scores import Rewards

LESS = "a smaller --max_seq_length helps, and --score_samples 0 leaves the scoring out"
Row = Mapping[str, Any]


class NotScored(Exception):
    """Why the held-out rows cannot be scored: the model is trained all the same."""


@dataclass(frozen=True)
class Part:
    """Rows with their prompts and answers as ids, the loss of each of these answers, and what the
    model answered (to documents: nothing). Of comparisons also the losses of rejected answers."""

    rows: Sequence[Row]
    pairs: Sequence[tuple[list[int], list[int]]]
    losses: Sequence[RowLoss]
    answers: Sequence[Given]
    rejected: Sequence[RowLoss] = ()


def of_text(
    model: MediaModel, rows: Sequence[Row], progress: Progress, said: Said, *, limit: Limit
) -> Part:
    """Answers to rows of text, and their losses; of comparisons those of both answers."""
    network, tokenizer = model.model, model.tokenizer
    with _memory_said():
        pairs = model.prompts.pairs(rows)
        losses = answer_loss(network, tokenizer, pairs, said)
        compared = [row for row in rows if "rejected" in row]
        rejected = answer_loss(network, tokenizer, model.prompts.rejected(compared), said)
        answers = answer(network, tokenizer, model.stop_ids, pairs, progress, said, limit)
    return Part(rows, pairs, losses, answers, rejected)


def of_documents(model: MediaModel, rows: Sequence[Row], said: Said) -> Part:
    """The losses of texts, which ask for nothing."""
    pairs = [document_ids(model.tokenizer, row) for row in rows]
    with _memory_said():
        return Part(rows, pairs, answer_loss(model.model, model.tokenizer, pairs, said), ())


def of_media(model: MediaModel, rows: Sequence[Row], progress: Progress, *, limit: Limit) -> Part:
    """The same for rows with media, one by one. Raises NotScored if the model cannot be asked."""
    try:
        pairs = [model.prompt_and_answer(with_answer(row)) for row in rows]
        losses = answer_loss_with_media(model, rows, pairs)
        others = [{**row, "chosen": row["rejected"]} for row in rows if "rejected" in row]
        unwanted = [model.prompt_and_answer(with_answer(row)) for row in others]
        rejected = answer_loss_with_media(model, others, unwanted)
        answers = answer_with_media(model, rows, pairs, progress, limit)
    except Exception as error:  # there are many kinds of such models
        raise _unasked(error) from error
    return Part(rows, pairs, losses, answers, rejected)


def losses_of(model: MediaModel, rows: Sequence[Row], said: Said) -> list[RowLoss]:
    """Losses of answers that are marked as bad: nobody asks the model for these."""
    text = [row for row in rows if not any(media_of(row))]
    seen = [row for row in rows if any(media_of(row))]
    with _memory_said():
        losses = answer_loss(model.model, model.tokenizer, model.prompts.pairs(text), said)
    try:
        pairs = [model.prompt_and_answer(row) for row in seen]
        return [*losses, *answer_loss_with_media(model, seen, pairs)]
    except Exception as error:
        raise _unasked(error) from error


def judged(model: MediaModel, rows: Sequence[Row], said: Said) -> Rewards:
    """The value head's rewards of both answers of each row."""
    if any(any(media_of(row)) for row in rows):
        raise NotScored("rewards of conversations with media are not scored")
    worse = [{**row, "chosen": row["rejected"]} for row in rows]
    with _memory_said():
        sides = [
            head_values(model.model, model.tokenizer, model.prompts.conversations(side), said)
            for side in (rows, worse)
        ]
    return Rewards(chosen=tuple(sides[0]), rejected=tuple(sides[1]))


@contextmanager
def _memory_said() -> Iterator[None]:
    try:
        yield
    except OutOfMemory as error:
        raise NotScored(f"memory ran out with one row at a time ({error}); {LESS}") from error


def _unasked(error: Exception) -> NotScored:
    return NotScored(f"this model cannot be asked about media ({type(error).__name__}: {error})")


def document_ids(tokenizer: Any, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """The token that begins a text (without one, its first), and the text, at most 1,024 tokens."""
    ids = tokenizer.encode(row["conversations"][0]["value"], add_special_tokens=False)[:1024]
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else ids[:1]
    return start, ids if tokenizer.bos_token_id is not None else ids[1:]
