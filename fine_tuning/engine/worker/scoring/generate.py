"""Answers and loss of a loaded model on held-out rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from fine_tuning.engine.worker.loading.precision import in_one_precision
from fine_tuning.engine.worker.no_trace import random_states_kept
from fine_tuning.engine.worker.scoring.greedy import (
    ANSWER_TOKENS,
    continued,
    greedily,
    is_soft_prompt,
    padded_left,
    rows_at_once,
    up_to_end,
)
from fine_tuning.engine.worker.scoring.inputs.batches import Said, in_batches
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel

LOSS_TOKENS = 2048  # per forward pass: logits over a large vocabulary are what memory goes to
MOST_NEW_TOKENS = 512
MASKED = -100  # a label without a loss
Progress = Callable[[int, int], None]
RowLoss = tuple[float, int]  # summed over the tokens of a row's answer in nats, and their number


@dataclass(frozen=True)
class Limit:
    """Tokens that an answer may have: by the longest expected one, at most `most`; or just so many,
    whatever is expected."""

    most: int = MOST_NEW_TOKENS
    exactly: bool = False

    def tokens(self, pairs: Sequence[tuple[list[int], list[int]]]) -> int:
        """For these prompts and expected answers."""
        longest = max((len(expected) for _, expected in pairs), default=0)
        return self.most if self.exactly else min(self.most, 2 * longest + 8)


@dataclass(frozen=True)
class Given:
    """An answer: its text, its ids with the one that ends it, and whether it came to an end."""

    text: str
    ids: tuple[int, ...]
    stopped: bool

    @property
    def tokens(self) -> int:
        """How many ids it has."""
        return len(self.ids)


@contextmanager
def scoring_mode(model: Any) -> Iterator[None]:
    """Evaluate inside, and leave no trace: training continues as if nothing had happened.

    Random states and the training flag are restored, so a scored run and an unscored one train
    the same weights.
    """
    training = model.training
    model.eval()
    try:
        with random_states_kept(), torch.no_grad(), in_one_precision(model):
            yield
    finally:
        model.train(training)


def answer(
    model: Any,
    tokenizer: Any,
    stop_ids: Sequence[int],
    pairs: Sequence[tuple[list[int], list[int]]],
    progress: Progress,
    said: Said,
    limit: Limit,
) -> list[Given]:
    """The model's greedy answer to each prompt, in the given order.

    Generation ends at a token of `stop_ids`, or at the limit.
    """
    prompts, new = [prompt for prompt, _ in pairs], limit.tokens(pairs)
    return answer_prompts(model, tokenizer, stop_ids, prompts, progress, said, new)


def answer_prompts(
    model: Any,
    tokenizer: Any,
    stop_ids: Sequence[int],
    prompts: Sequence[list[int]],
    progress: Progress,
    said: Said,
    new: int,
) -> list[Given]:
    """As `answer`, with `new` tokens at most. Prompts are batched by tokens."""

    def generated(chosen: Sequence[int]) -> list[Given]:
        asked = [prompts[i] for i in chosen]
        written = continued(model, asked, tokenizer.pad_token_id, stop_ids, new)
        return [given(tokenizer, stop_ids, ids) for ids in written]

    answers = [Given("", (), False)] * len(prompts)
    done = 0
    for chosen, texts in in_batches(
        range(len(prompts)),
        lambda i: len(prompts[i]) + new,
        generated,
        most_tokens=ANSWER_TOKENS,
        most_rows=rows_at_once(model),
        said=said,
    ):
        for i, found in zip(chosen, texts, strict=True):
            answers[i] = found
        done += len(chosen)
        progress(done, len(prompts))
    return answers


def answer_with_media(
    model: MediaModel,
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[list[int], list[int]]],
    progress: Progress,
    limit: Limit,
) -> list[Given]:
    """As `answer`, for rows with media, one by one."""
    stop_ids = model.stop_ids
    how = greedily(model.tokenizer.pad_token_id, stop_ids, limit.tokens(pairs))
    answers = []
    for row, (prompt, _) in zip(rows, pairs, strict=True):
        answers.append(given(model.tokenizer, stop_ids, model.answer(row, prompt, **how)))
        progress(len(answers), len(rows))
    return answers


def given(tokenizer: Any, stop_ids: Sequence[int], ids: Sequence[int]) -> Given:
    """The answer that these ids are; what stands behind its end is padding."""
    ids = up_to_end(stop_ids, ids)
    stopped = bool(ids) and ids[-1] in stop_ids
    return Given(tokenizer.decode(ids, skip_special_tokens=True), tuple(ids), stopped)


def answer_loss(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[list[int], list[int]]], said: Said
) -> list[RowLoss]:
    """Summed cross-entropy (nats) of the tokens of each expected answer, and their number."""
    labelled = [([*asked, *given], [MASKED] * len(asked) + given) for asked, given in pairs]
    return sequence_loss(model, tokenizer, labelled, said)


def sequence_loss(
    model: Any,
    tokenizer: Any,
    labelled: Sequence[tuple[list[int], list[int]]],
    said: Said,
    progress: Progress = lambda done, total: None,
) -> list[RowLoss]:
    """Summed cross-entropy (nats) of the labels of each sequence that are not masked, and their
    number; a sequence is its ids and its labels."""

    def summed(batch: Sequence[int]) -> list[RowLoss]:
        chosen = [labelled[i] for i in batch]
        ids, mask = padded_left([ids for ids, _ in chosen], tokenizer.pad_token_id)
        labels, _ = padded_left([labels for _, labels in chosen], MASKED)
        logits = model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        ).logits
        # PEFT gives those of virtual tokens too, before the row's
        return _summed(logits[:, -ids.shape[1] :], labels)

    losses: list[RowLoss] = [(0.0, 0)] * len(labelled)
    done = 0
    for batch, found in in_batches(
        range(len(labelled)),
        lambda i: len(labelled[i][0]),
        summed,
        most_tokens=LOSS_TOKENS,
        most_rows=1 if is_soft_prompt(model) else LOSS_TOKENS,
        said=said,
    ):
        for i, loss in zip(batch, found, strict=True):
            losses[i] = loss
        done += len(batch)
        progress(done, len(labelled))
    return losses


def answer_loss_with_media(
    model: MediaModel,
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[list[int], list[int]]],
) -> list[RowLoss]:
    """As `answer_loss`, for rows with media, one by one."""
    losses: list[RowLoss] = []
    for row, (prompt, expected) in zip(rows, pairs, strict=True):
        logits = model.logits(row, [*prompt, *expected])
        losses += _summed(logits, torch.tensor([[MASKED] * len(prompt) + expected]))
    return losses


def _summed(logits: "torch.Tensor", labels: "torch.Tensor") -> list[RowLoss]:
    """Of each row the summed cross-entropy of the labels that are not masked, and their number."""
    target = labels[:, 1:].to(logits.device)
    trained = target != MASKED
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1][trained].float(), target[trained], reduction="none"
    )
    counts = trained.sum(dim=1).tolist()
    return [(float(it.sum()), len(it)) for it in losses.split(counts)]
