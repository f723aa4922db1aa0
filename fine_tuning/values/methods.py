"""What can be trained, one row a method (`--method`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train, and what follows from it."""

    leaves: Literal["adapter", "model"]  # what training leaves in the run
    takes_quantized: bool  # a base model in 4 or 8 bits can stand below it
    continues_adapters: bool = False  # it can train on from an adapter that exists
    has_rank: bool = False  # `--lora_rank`, `--lora_alpha` and LoRA's variants apply
    trainer: str = "llamafactory"  # engine/trainers

    @property
    def makes_adapter(self) -> bool:
        """Whether the base model stays as it was, beside an adapter."""
        return self.leaves == "adapter"


METHODS: Mapping[str, Method] = {
    "lora": Method(leaves="adapter", takes_quantized=True, continues_adapters=True, has_rank=True),
    "oft": Method(leaves="adapter", takes_quantized=True),
    "freeze": Method(leaves="model", takes_quantized=False),
    "full": Method(leaves="model", takes_quantized=False),
}
# Names for a method and a quantisation together.
SHORT_FOR: Mapping[str, tuple[str, str]] = {"qlora": ("lora", "4bit")}
