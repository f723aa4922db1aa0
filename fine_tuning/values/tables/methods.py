"""What can be trained, one row a method (`--method`). docs/methods.md says when to take which."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train, and what follows from it."""

    leaves: Literal["adapter", "model"]  # what training leaves in the run
    takes_quantized: bool  # a base model in 4 or 8 bits can stand below it
    has_rank: bool = False  # `--lora_rank`, `--lora_alpha` and `--lora_target` apply
    has_variants: bool = (
        False  # DoRA, rsLoRA, PiSSA, LoRA+ and `--target_parameters` are kinds of it
    )
    has_modules: bool = False  # modules trained whole beside it: `--additional_target`, new tokens
    mergeable: bool = True  # what it leaves can become one model with the base
    adds_loss: bool = False  # a term of its own, in the loss that the model computes
    soft_prompt: bool = False  # it trains virtual tokens before each row, and no layer
    checkpoints: bool = True  # layers can be computed twice (gradient checkpointing)
    rate: float | None = None  # usual peak learning rate; None: the objective's for what it leaves
    trainer: str = "llamafactory"  # engine/trainers

    @property
    def makes_adapter(self) -> bool:
        """Whether the base model stays as it was, beside an adapter."""
        return self.leaves == "adapter"


def _soft_prompt(rate: float) -> Method:
    return Method(
        leaves="adapter",
        takes_quantized=True,
        mergeable=False,
        soft_prompt=True,
        rate=rate,
        trainer="peft",
    )


def _additive(rate: float) -> Method:
    return Method(
        leaves="adapter", takes_quantized=True, has_modules=True, rate=rate, trainer="peft"
    )


METHODS: Mapping[str, Method] = {
    "lora": Method(
        leaves="adapter",
        takes_quantized=True,
        has_rank=True,
        has_variants=True,
        has_modules=True,
    ),
    "oft": Method(leaves="adapter", takes_quantized=True, has_modules=True),
    "freeze": Method(leaves="model", takes_quantized=False),
    "full": Method(leaves="model", takes_quantized=False),
    # Rates: Lester et al. (arXiv:2104.08691) train prompts at 0.3; Li and Liang (arXiv:2101.00190)
    # prefixes at 5e-5, Liu et al. (arXiv:2110.07602) at 5e-3 to 1e-2; Liu et al.
    # (arXiv:2103.10385) the encoder of P-tuning at 1e-3 or less.
    "prompt_tuning": _soft_prompt(3e-2),
    # PEFT gives no prefix to a layer that is computed twice
    "prefix_tuning": replace(_soft_prompt(1e-2), checkpoints=False),
    "p_tuning": _soft_prompt(1e-3),
    # (IA)3: Liu et al. (arXiv:2205.05638) at 3e-3; VeRA: Kopiczko et al. (arXiv:2310.11454) at
    # 4e-3; norms alone: Zhao et al. (arXiv:2312.11420) at 1e-3.
    "ia3": _additive(3e-3),
    "vera": _additive(4e-3),
    # PEFT merges no modules of its adapters (tuners/ln_tuning/model.py)
    "ln_tuning": replace(_additive(1e-3), has_modules=False),
    # Zhang et al. (arXiv:2303.10512) at 5e-4 to 2e-3
    "adalora": replace(_additive(1e-3), has_rank=True, adds_loss=True),
}
# The method of an adapter, by the type that PEFT writes into adapter_config.json.
OF_PEFT_TYPE: Mapping[str, str] = {
    name.upper(): name for name, method in METHODS.items() if method.makes_adapter
}
# Names for a method and a quantisation together.
SHORT_FOR: Mapping[str, tuple[str, str]] = {"qlora": ("lora", "4bit")}
