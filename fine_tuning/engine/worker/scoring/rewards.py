"""Rewards of held-out answers: what a value head gives, or what a preference has made likelier."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fine_tuning.engine.worker.scoring.batches import Said, in_batches
from fine_tuning.engine.worker.scoring.generate import LOSS_TOKENS, RowLoss, is_soft_prompt
from fine_tuning.values.scores import Rewards
from fine_tuning.values.scores import RowLoss as ReadLoss  # None: it was not finite


def head_values(
    model: Any, tokenizer: Any, conversations: Sequence[Sequence[int]], said: Said
) -> list[float]:
    """What the value head gives at the last token of each conversation, in the given order.

    As LLaMA-Factory trains it (train/rm/trainer.py:compute_loss): padded on the right.
    """
    device = next(model.parameters()).device

    def read(batch: Sequence[int]) -> list[float]:
        chosen = [conversations[i] for i in batch]
        width = max(map(len, chosen))
        ids = [[*one, *[tokenizer.pad_token_id] * (width - len(one))] for one in chosen]
        mask = [[1] * len(one) + [0] * (width - len(one)) for one in chosen]
        *_, values = model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            use_cache=False,
            return_dict=True,
        )
        values = values[:, -width:].float().cpu()  # PEFT gives those of virtual tokens too
        return [float(of_row[len(one) - 1]) for of_row, one in zip(values, chosen, strict=True)]

    found = [0.0] * len(conversations)
    for batch, values in in_batches(
        range(len(conversations)),
        lambda i: len(conversations[i]),
        read,
        most_tokens=LOSS_TOKENS,
        most_rows=1 if is_soft_prompt(getattr(model, "pretrained_model", model)) else LOSS_TOKENS,
        said=said,
    ):
        for i, value in zip(batch, values, strict=True):
            found[i] = value
    return found


def implicit_rewards(
    how: str,
    beta: float,
    losses: tuple[Sequence[RowLoss], Sequence[RowLoss]],
    before: tuple[Sequence[ReadLoss], Sequence[ReadLoss]],
    *,
    paired: bool,
) -> Rewards:
    """The rewards that a preference is trained by, of the losses of wanted and other answers.

    "likelier": beta times how much the log-likelihood of the answer has grown since before the
    training (Rafailov et al., arXiv:2305.18290, section 4; as train/dpo/trainer.py and train/kto).
    "likely": beta times its mean per token (Meng et al., arXiv:2405.14734, section 2.2), which is
    what LLaMA-Factory logs for orpo and simpo.
    """
    chosen, rejected = (
        [
            beta * (_number(then) - now) if how == "likelier" else -beta * now / max(1, tokens)
            for (now, tokens), (then, _) in zip(side, old, strict=True)
        ]
        for side, old in zip(losses, before, strict=True)
    )
    return Rewards(chosen=tuple(chosen), rejected=tuple(rejected), paired=paired)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def reward_metrics(rewards: Rewards | None) -> Mapping[str, float | None]:
    """Accuracy, margin, and the number of comparisons that they rest on; nothing without any."""
    if rewards is None or not rewards.count:
        return {}
    return {
        "reward_accuracy": rewards.accuracy,
        "reward_margin": rewards.margin,
        "comparisons": rewards.count,
    }
