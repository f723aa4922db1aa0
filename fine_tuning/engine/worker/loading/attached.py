"""Adapters upon a loaded model: all held at once, one counts, or none."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import load_peft_weights
from safetensors import safe_open

from fine_tuning.errors import ModelError
from fine_tuning.units import counted

SHOWN = 3  # names in a message


def adapters_of(model: Mapping[str, Any]) -> list[str]:
    """All that lie upon a model (process/chatting.py: SpokenModel), in one order."""
    return sorted({model["adapter"], *model["beside"]} - {""})


def attached(network: Any, adapters: Sequence[str]) -> Any:
    """The model with these directories' adapters; without any it is what it was.

    Raises ModelError for an adapter that does not fit, or that PEFT cannot hold beside the others.
    """
    for adapter in adapters:
        try:
            if isinstance(network, PeftModel):
                network.load_adapter(adapter, adapter_name=name_of(adapter))
            else:
                network = PeftModel.from_pretrained(network, adapter, adapter_name=name_of(adapter))
        except (RuntimeError, ValueError) as error:  # other sizes, no such layers, another kind
            alone = adapter == adapters[0]
            raise ModelError(
                f"The adapter in {adapter} does not fit this base model."
                if alone
                else f"The adapter in {adapter} cannot be held beside {adapters[0]}.",
                why=str(error).splitlines()[-1].strip(),
                fix="give the base model that it was trained on with --model_name_or_path"
                if alone
                else "load each by itself",
            ) from error
    return network.eval()


@contextmanager
def with_adapter(network: Any, adapter: str) -> Iterator[None]:
    """Inside, this one of the model's adapters counts; empty: none does."""
    if not isinstance(network, PeftModel):
        yield
        return
    if adapter:
        network.set_adapter(name_of(adapter))
    with nullcontext() if adapter else network.disable_adapter():
        yield


def name_of(adapter: str) -> str:
    """The adapter's name in PEFT, which becomes part of the names of its weights."""
    return "of_" + hashlib.sha256(adapter.encode()).hexdigest()[:16]


def require_read(network: Any, adapters: Sequence[str]) -> None:
    """Raise ModelError if a tensor of an adapter belongs to no layer: the base would answer."""
    for adapter in adapters:
        if missing := unread(network, adapter):
            raise ModelError(
                f"{adapter}: {counted(len(missing), 'tensor')} of it belong to no layer of this "
                "base model, so that they would change nothing.",
                why=", ".join(missing[:SHOWN]),
                fix="give the base model that it was trained on with --model_name_or_path, or copy "
                "the adapter again",
            )


def unread(network: Any, adapter: str) -> list[str]:
    """Tensors of the adapter's file that no layer reads: PEFT only warns, and goes on without."""
    if network.peft_config[name_of(adapter)].is_prompt_learning:
        return []
    file = Path(adapter) / "adapter_model.safetensors"
    if file.is_file():
        with safe_open(file, framework="pt") as weights:
            there = set(weights.keys())
    else:
        there = set(load_peft_weights(adapter, device="cpu"))
    known = {name.replace(f".{name_of(adapter)}", "") for name in network.state_dict()}
    known |= {name.replace(".modules_to_save", "") for name in known}
    known |= {name.removesuffix(".weight") for name in known}  # those of DoRA and VeRA
    return sorted(name for name in there if name.removesuffix(".weight") not in known)
