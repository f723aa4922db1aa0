"""The model's weights, from its configuration alone."""

from typing import Any

import pytest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def mixture() -> Any:
    """Qwen3-30B-A3B by its published configuration."""
    from transformers import Qwen3MoeConfig

    return Qwen3MoeConfig(
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=6144,
        moe_intermediate_size=768,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
        dtype="bfloat16",
    )


def test_the_experts_of_a_mixture_stay_in_16_bits(mixture: Any) -> None:
    """Qwen3-30B-A3B in 4 bits was said to need 16 GiB for its weights; it needs 55."""
    from fine_tuning.engine.plan.memory.peak import estimate
    from fine_tuning.engine.plan.memory.weights import Step, coverage
    from fine_tuning.engine.worker.tokens.model_facts import model_facts

    facts = model_facts(mixture, trust=False)
    assert facts and facts.parameters == 30_532_122_624 == sum(facts.by_kind().values())
    assert (facts.experts_per_token, facts.weight_bytes, facts.tied) == (8, 2, False)
    step = Step(
        method="lora", stage="sft", quantization="4bit", rank=8, batch=1, length=1024, half=True
    )
    plan = estimate(facts, step)
    assert plan and plan.weights / 1024**3 == pytest.approx(55.6, abs=0.2)
    covered = {part.kind: part for part in coverage(facts, step)}
    assert covered["experts"].parameters == 28_991_029_248
    assert (covered["experts"].trained, covered["experts"].quantised) == (0, 0)
    assert (covered["attention"].trained, covered["attention"].quantised) == (1, 1)


def test_what_peft_and_bitsandbytes_find_is_what_is_counted() -> None:
    """By their own functions, on a small model of the same kinds of layers."""
    import torch
    from llamafactory.model.model_utils.misc import find_all_linear_modules
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig
    from transformers.quantizers.base import get_keys_to_not_convert

    from fine_tuning.engine.plan.memory.weights import Step, is_adapted, is_quantised
    from fine_tuning.engine.worker.tokens.model_facts import model_facts

    config = Qwen3MoeConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        moe_intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=4,
        mlp_only_layers=[0],
    )
    facts = model_facts(config, trust=False)
    assert facts
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    step = Step(
        method="lora", stage="sft", quantization="4bit", rank=8, batch=1, length=8, half=True
    )
    adapted = {weights.module for weights in facts.weights if is_adapted(weights, step)}
    assert adapted == set(find_all_linear_modules(model, freeze_vision_tower=True))
    left = get_keys_to_not_convert(model)
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in left
    }
    counted = sum(w.count for w in facts.weights if is_quantised(w, step, facts))
    assert counted == len(linear)


@pytest.mark.parametrize(
    ("written", "bits"),
    [
        ({"quant_method": "gptq", "bits": 4}, 4.25),
        ({"quant_method": "awq", "bits": 4}, 4.25),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.13),
        ({"quant_method": "mxfp4"}, None),
        ({"quant_method": "fp8"}, None),
    ],
)
def test_a_checkpoint_that_comes_quantised_is_counted_so(
    written: dict[str, Any], bits: float | None
) -> None:
    from transformers import LlamaConfig

    from fine_tuning.engine.worker.tokens.model_facts import model_facts

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        quantization_config=written,
    )
    facts = model_facts(config, trust=False)
    assert facts and (facts.stored.bits if facts.stored else None) == bits
