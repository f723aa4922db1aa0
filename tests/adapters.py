"""LoRA adapters with random weights, and what they add to their base model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def adapter(base: Path, path: Path, *, seed: int, rank: int = 4, **how: Any) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig

    from fine_tuning.engine.worker.loading.auto_class import auto_class

    torch.manual_seed(seed)
    how = {"target_modules": ["q_proj", "down_proj"], "lora_alpha": 8, **how}
    model = auto_class(AutoConfig.from_pretrained(base)).from_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=rank, **how))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape) * 0.02
    tuned.save_pretrained(path)
    return path


def added(base: Path, path: Path) -> Mapping[str, Any]:
    """What an adapter adds to the weights, by PEFT's own merge."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base)
    before = {name: weight.detach().clone() for name, weight in plain.named_parameters()}
    merged = PeftModel.from_pretrained(plain, path).merge_and_unload()
    return {name: weight.detach() - before[name] for name, weight in merged.named_parameters()}
