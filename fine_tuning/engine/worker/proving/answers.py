"""Greedy answers as ids, and what a model holds likely at each place of an answer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fine_tuning.engine.worker.scoring.generate import LOSS_TOKENS
from fine_tuning.engine.worker.scoring.greedy import continued, is_soft_prompt, rows_at_once
from fine_tuning.engine.worker.scoring.inputs.batches import in_batches

NEW_TOKENS = 32  # of each answer
Ids = Sequence[int]
Said = Callable[[str], None]


def greedy(
    network: Any, prompts: Sequence[Ids], stop_ids: Ids | None, pad: int | None, said: Said
) -> list[list[int]]:
    """The model's likeliest answer to each prompt, with the token that ends it, if one does.

    `stop_ids` None: those of its own generation config.
    """
    if stop_ids is None:
        own = network.generation_config.eos_token_id
        stop_ids = [it for it in (own if isinstance(own, list) else [own]) if it is not None]
    pad = pad if pad is not None else next(iter(stop_ids), 0)

    def generated(chosen: Sequence[int]) -> list[list[int]]:
        return continued(network, [prompts[i] for i in chosen], pad, stop_ids, NEW_TOKENS)

    answers: list[list[int]] = [[] for _ in prompts]
    for chosen, found in in_batches(
        range(len(prompts)),
        lambda i: len(prompts[i]) + NEW_TOKENS,
        generated,
        most_tokens=LOSS_TOKENS,  # little padding: prompts with functions are ten times as long
        most_rows=rows_at_once(network),
        said=said,
    ):
        for i, ids in zip(chosen, found, strict=True):
            answers[i] = ids
    return answers


def log_probabilities(
    network: Any, pairs: Sequence[tuple[Ids, Ids]], said: Said
) -> "list[torch.Tensor]":
    """Of each prompt and answer the log-probabilities of all tokens at each place of the answer."""

    def computed(chosen: Sequence[int]) -> "list[torch.Tensor]":
        rows = [[*pairs[i][0], *pairs[i][1]] for i in chosen]
        width = max(map(len, rows))
        # on the right: what follows changes nothing, and each place keeps its number
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        logits = network(
            input_ids=ids.to(network.device),
            attention_mask=mask.to(network.device),
            use_cache=False,
        ).logits[:, -width:]  # PEFT gives those of virtual tokens too, before the row's
        found = []
        for row, i in zip(logits, chosen, strict=True):
            prompt, answer = pairs[i]
            places = row[len(prompt) - 1 : len(prompt) - 1 + len(answer)]
            found.append(places.float().log_softmax(-1).cpu())
        return found

    answers: list[torch.Tensor] = [torch.empty(0)] * len(pairs)
    for chosen, found in in_batches(
        range(len(pairs)),
        lambda i: len(pairs[i][0]) + len(pairs[i][1]),
        computed,
        most_tokens=LOSS_TOKENS,
        most_rows=1 if is_soft_prompt(network) else LOSS_TOKENS,
        said=said,
    ):
        for i, places in zip(chosen, found, strict=True):
            answers[i] = places
    return answers
