"""The likeliest tokens behind prompts, a batch of them at a time; rows that have ended leave it."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

CPU_ROWS = 32  # that are answered at once: a processor gains nothing by more
ANSWER_TOKENS = 16_384  # at once, with their keys and values: 2 GiB for a model of 8B
PIECE = 8  # tokens that all rows of a batch write before those that have ended leave it
# Settings of a model's own generation config that count from where `generate` begins, or keep what
# it has read in another form: then it is called once.
ONCE = (
    "begin_suppress_tokens",
    "cache_implementation",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_length",
    "min_new_tokens",
    "prompt_lookup_num_tokens",
    "watermarking_config",
)


def rows_at_once(network: Any) -> int:
    """How many prompts are answered at once, if their tokens are no more than ANSWER_TOKENS: of
    a GPU, on which each step takes as long for one row, memory alone decides."""
    if is_soft_prompt(network):
        return 1
    return CPU_ROWS if network.device.type == "cpu" else ANSWER_TOKENS


def is_soft_prompt(model: Any) -> bool:
    """Whether virtual tokens stand before each row. Such rows are not padded: PEFT leaves their
    positions to the model, which counts the padding between the two (peft/peft_model.py)."""
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))


def greedily(pad: int | None, stop_ids: Sequence[int], new: int) -> dict[str, Any]:
    """How `generate` is told to take the likeliest token, and when to end."""
    return {
        "max_new_tokens": new,
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "use_cache": True,
        "eos_token_id": list(stop_ids),
        "pad_token_id": pad,
    }


def continued(
    network: Any,
    prompts: Sequence[Sequence[int]],
    pad: int | None,
    stop_ids: Sequence[int],
    new: int,
) -> list[list[int]]:
    """The ids that the model writes behind each prompt: up to the first of `stop_ids`, which is
    the last of them, or as many as `new`."""
    ids, mask = (it.to(network.device) for it in padded_left(prompts, pad or 0))
    begin, end = ids.shape[1], ids.shape[1] + new
    in_pieces = len(prompts) > 1 and rows_can_leave(network)
    stops = torch.tensor(list(stop_ids), device=ids.device)
    written: list[list[int]] = [[] for _ in prompts]
    there = torch.arange(len(prompts), device=ids.device)  # which prompts are still in the batch
    kept: dict[str, Any] = {}
    while len(there):
        until = min(ids.shape[1] + PIECE, end) if in_pieces else end
        how = greedily(pad, stop_ids, until - ids.shape[1])
        if in_pieces:
            how |= {"return_dict_in_generate": True, **kept}
        found = network.generate(input_ids=ids, attention_mask=mask, **how)
        ids = found.sequences if in_pieces else found
        stay = ~torch.isin(ids[:, begin:], stops).any(dim=1)
        stay &= until == ids.shape[1] < end  # else it ended for another reason
        for place, row in zip(there[~stay].tolist(), ids[~stay, begin:].tolist(), strict=True):
            written[place] = up_to_end(stop_ids, row)
        if stay.any() and not stay.all():
            found.past_key_values.batch_select_indices(stay.nonzero()[:, 0])
        if in_pieces:
            kept = {"past_key_values": found.past_key_values}
        there, ids, mask = there[stay], ids[stay], mask[stay]
        mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
    return written


def rows_can_leave(network: Any) -> bool:
    """Whether a row can be taken out of what the model keeps of a batch, and `generate` called
    again with the others: a text model of Transformers that keeps keys and values alone."""
    model = network.get_base_model() if isinstance(network, PeftModel) else network
    if is_soft_prompt(network) or not type(model).__module__.startswith("transformers.models."):
        return False
    own, config = model.generation_config, model.config
    if config.get_text_config() is not config or (own.num_beams or 1) > 1:
        return False
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer} and not any(
        getattr(own, name, None) for name in ONCE
    )


def up_to_end(stop_ids: Sequence[int], ids: Sequence[int]) -> list[int]:
    """The ids with the first that ends an answer, and nothing behind it."""
    end = next((place for place, token in enumerate(ids) if token in stop_ids), len(ids))
    return list(ids[: end + 1])


def padded_left(
    sequences: Sequence[Sequence[int]], pad: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """The ids of all sequences, which end together, and the mask of what is not padding."""
    width = max(len(sequence) for sequence in sequences)
    ids = [[pad] * (width - len(s)) + list(s) for s in sequences]
    mask = [[0] * (width - len(s)) + [1] * len(s) for s in sequences]
    return torch.tensor(ids), torch.tensor(mask)
