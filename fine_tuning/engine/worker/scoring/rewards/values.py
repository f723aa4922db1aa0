"""Rewards of held-out answers: what a value head gives, or what a preference has made likelier."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fine_tuning.engine.worker.scoring.generate import LOSS_TOKENS, RowLoss
from fine_tuning.engine.worker.scoring.greedy import is_soft_prompt
from fine_tuning.engine.worker.scoring.inputs.batches import Said, in_batches
from fine_tuning.values.answers.scores import Rewards
from fine_tuning.values.answers.scores import RowLoss as ReadLoss  # None: it was not finite

Ids = Sequence[int]


def head_values(
    model: Any, tokenizer: Any, conversations: Sequence[Ids], said: Said
) -> list[float]:
    """What the value head gives at the last token of each conversation, in the given order.

    As LLaMA-Factory trains it (train/rm/trainer.py:compute_loss): padded on the right.
    """

    def read(ids: Any, mask: Any) -> Any:
        *_, values = model(input_ids=ids, attention_mask=mask, use_cache=False, return_dict=True)
        values = values[:, -ids.shape[1] :]  # PEFT gives those of virtual tokens too
        return values.gather(1, mask.sum(dim=1, keepdim=True) - 1)[:, 0]

    alone = is_soft_prompt(getattr(model, "pretrained_model", model))
    return _in_order(model, read, conversations, tokenizer.pad_token_id, said, alone=alone)


def classifier_values(model: Any, conversations: Sequence[Ids], said: Said) -> list[float]:
    """What a classifier with one label gives each conversation, by its own way to find the end.

    One without a token for padding reads one conversation at a time.
    """

    def read(ids: Any, mask: Any) -> Any:
        return model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]

    pad = model.config.get_text_config().pad_token_id
    return _in_order(model, read, conversations, pad or 0, said, alone=pad is None)


def _in_order(
    model: Any,
    read: Callable[[Any, Any], Any],
    conversations: Sequence[Ids],
    pad: int,
    said: Said,
    *,
    alone: bool,
) -> list[float]:
    device = next(model.parameters()).device

    def rewards_of(batch: Sequence[int]) -> list[float]:
        chosen = [conversations[i] for i in batch]
        width = max(map(len, chosen))
        ids = [[*one, *[pad] * (width - len(one))] for one in chosen]
        mask = [[1] * len(one) + [0] * (width - len(one)) for one in chosen]
        rewards = read(torch.tensor(ids, device=device), torch.tensor(mask, device=device))
        return [float(reward) for reward in rewards]

    found = [0.0] * len(conversations)
    for batch, rewards in in_batches(
        range(len(conversations)),
        lambda i: len(conversations[i]),
        rewards_of,
        most_tokens=LOSS_TOKENS,
        most_rows=1 if alone else LOSS_TOKENS,
        said=said,
    ):
        for i, reward in zip(batch, rewards, strict=True):
            found[i] = reward
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
            beta * ((math.nan if then is None else then) - now)
            if how == "likelier"
            else -beta * now / max(1, tokens)
            for (now, tokens), (then, _) in zip(side, old, strict=True)
        ]
        for side, old in zip(losses, before, strict=True)
    )
    return Rewards(chosen=tuple(chosen), rejected=tuple(rejected), paired=paired)


def reward_metrics(rewards: Rewards | None) -> Mapping[str, float | None]:
    """Accuracy, margin, and the number of comparisons that they rest on; nothing without any."""
    if rewards is None or not rewards.count:
        return {}
    return {
        "reward_accuracy": rewards.accuracy,
        "reward_margin": rewards.margin,
        "comparisons": rewards.count,
    }
