"""Answers are what one row alone would be answered, whatever leaves the batch meanwhile."""

from typing import Any

import pytest

pytestmark = pytest.mark.engine

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen3_next": {  # keeps a state that no row can be taken out of
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
}


def build(family: str) -> Any:
    """A model of this family that says something."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(7)
    config = AutoConfig.for_model(family, **SIZES, **FAMILIES[family])
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(6)  # else it says one token again and again
    return network


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_does_not_depend_on_the_rows_that_ended_before_it(family: str) -> None:
    """Rows that have ended leave the batch, so that nothing is computed for them."""
    import torch

    from fine_tuning.engine.worker.scoring.greedy import continued, rows_can_leave

    network, new = build(family), 28
    prompts = [[5, 9, 11], [7, 7], [8, 40, 3, 21, 60, 13, 2], [90], [33, 4, 12, 66]]
    rows: list[int] = []
    network.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    with torch.no_grad():
        alone = [continued(network, [prompt], 0, [], new)[0] for prompt in prompts]
        assert all(len(answer) == new for answer in alone) and len(set(map(tuple, alone))) > 3
        stops = [alone[0][2], alone[1][11]]
        ended = [continued(network, [prompt], 0, stops, new)[0] for prompt in prompts]
        assert len({len(answer) for answer in ended}) > 2, "they end at different places"
        rows.clear()
        assert continued(network, prompts, 0, stops, new) == ended
    assert rows_can_leave(network) == (family != "qwen3_next") == (rows[-1] < rows[0])


def test_a_model_whose_settings_count_from_the_first_token_is_asked_once() -> None:
    """`begin_suppress_tokens` would forbid a token at the beginning of each piece."""
    import torch

    from fine_tuning.engine.worker.scoring.greedy import continued, rows_can_leave

    network = build("qwen3")
    prompts = [[5, 9, 11], [7, 7]]
    with torch.no_grad():
        usual = continued(network, prompts, 0, [], 20)
        assert usual[0][8] != usual[0][0], "the first token of the second piece is another"
        network.generation_config.begin_suppress_tokens = [usual[0][8]]
        assert not rows_can_leave(network)
        assert continued(network, prompts, 0, [], 20)[0] == usual[0]
