"""A contract of a model that is loaded in 4 bits, as QLoRA trains it."""

from dataclasses import asdict
from pathlib import Path

import pytest

from fine_tuning import demo
from tests.contracts import HERE

pytestmark = pytest.mark.engine


def test_its_noise_is_of_rounding_and_leaves_the_adapter_on(tmp_path: Path) -> None:
    """PEFT's layer around a packed one has the same name, and was left out with its adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from fine_tuning.engine.process.chatting import SpokenModel

    base = AutoModelForCausalLM.from_pretrained(demo.model_path(), dtype=torch.float32)
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(tmp_path)
    settings = {"model_name_or_path": str(demo.model_path()), "template": "empty"}
    served = {"chat_template": None, "stops": [], "stop_ids": [2], "thinking": None}
    model = SpokenModel(
        settings={**settings, "quantization_bit": 4}, adapter=str(tmp_path), served=served
    )
    how = {"rows": None, "chat_template": None, "thinking": None, "as_engine": False}
    made = HERE.request("contract", {"model": asdict(model), **how})
    assert made["dtype"] == "4 bits"
    noise = [made["noise"][name]["mean"] for name in ("float16", "bfloat16", "8 bits", "4 bits")]
    assert noise == sorted(noise) and noise[0] < 0.1 * made["moved"]
