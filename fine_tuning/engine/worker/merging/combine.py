"""Several LoRA adapters become one, through PEFT's `add_weighted_adapter`."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AutoConfig

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.errors import EngineError

MADE = "default"  # PEFT saves an adapter of any other name in a folder of that name


def combine(
    *,
    events: Events,
    base: str,
    trust_remote_code: bool,
    adapters: Sequence[str],
    weights: Sequence[float],
    how: str,
    density: float,
    svd_rank: int | None,
    seed: int,
    partial_dir: str,
) -> dict[str, Any]:
    """Combine into `partial_dir` (which the caller then renames); no weight of the base is read.

    `apart` in the result is the distance of what the combined adapter adds to the base's weights
    from the weighted sum of what the adapters add, as a share of that sum's norm. Raises
    EngineError for adapters that PEFT cannot combine so.
    """
    events.part("combine")
    model = _hollow(base, trust_remote_code)
    names = [f"adapter_{number}" for number in range(len(adapters))]
    tuned = PeftModel(model, _config(adapters[0]), adapter_name=names[0])
    for name, adapter in zip(names, adapters, strict=True):
        if name not in tuned.peft_config:
            tuned.add_adapter(name, _config(adapter))
        unread = tuned.load_adapter(adapter, adapter_name=name).unexpected_keys
        if unread:
            raise EngineError(
                f"{adapter}: {len(unread)} of its weights belong to no layer of {base}, first "
                + unread[0].replace(f".{name}", ""),
                fix="give the base model that it was trained on",
            )
    # The result is scaled by its alpha / rank, which is 1; the first adapter's config is its start.
    tuned.peft_config[names[0]].use_rslora = False
    tuned.peft_config[names[0]].init_lora_weights = True
    layers = [layer for layer in tuned.modules() if isinstance(layer, LoraLayer)]
    if how.endswith("svd"):
        _fold_scales(layers)
    torch.manual_seed(seed)  # dare drops numbers at random
    try:
        tuned.base_model.add_weighted_adapter(
            names,
            list(weights),
            MADE,
            combination_type=how,
            svd_rank=svd_rank,
            svd_full_matrices=False,
            density=density,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise EngineError(
            f"PEFT cannot combine these adapters by {how}.",
            why=str(error),
            fix="take --combine cat, or leave it out: they are merged one after the other",
        ) from error
    for name, weight in tuned.named_parameters():
        if f".{MADE}" in name:  # a slice of an svd, which safetensors does not save
            weight.data = weight.data.contiguous()
    tuned.save_pretrained(partial_dir, selected_adapters=[MADE])
    (Path(partial_dir) / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in
    apart = [_squares(layer, names, weights) for layer in layers]
    wanted = sum(total for _, total in apart)
    return {
        "rank": tuned.peft_config[MADE].r,
        "layers": len(layers),
        "apart": math.sqrt(sum(differing for differing, _ in apart) / wanted) if wanted else 0.0,
        "seconds": events.seconds(),
    }


def _config(adapter: str) -> Any:
    return PeftConfig.from_pretrained(adapter)


def _hollow(base: str, trust: bool) -> Any:
    """The base model with weights that take no memory: only their shapes are looked at."""
    config = AutoConfig.from_pretrained(base, trust_remote_code=trust)
    known = {"trust_remote_code": True} if trust else {}
    with torch.device("meta"):
        model = auto_class(config).from_config(config, **known)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            hollow = nn.Parameter(torch.zeros(1).expand(weight.shape), requires_grad=False)
            setattr(module, name, hollow)
    return model


def _fold_scales(layers: Sequence[Any]) -> None:
    """Put each adapter's scale into its B: the ways with an svd would scale twice (PEFT 0.18,
    lora/model.py:_svd_generalized_task_arithmetic_weighted_adapter multiplies what is scaled)."""
    for layer in layers:
        for second in (layer.lora_B, layer.lora_embedding_B):
            for name, factor in second.items():
                getattr(factor, "weight", factor).data *= layer.scaling[name]
                layer.scaling[name] = 1.0


def _squares(layer: Any, names: Sequence[str], weights: Sequence[float]) -> tuple[float, float]:
    """Squared norms, for one layer: of the difference between what the result adds and the
    weighted sum of what the adapters add, and of that sum."""
    summed = [
        (first, weight * second)
        for name, weight in zip(names, weights, strict=True)
        for first, second in _factors(layer, name)
    ]
    made = [(first, -second) for first, second in _factors(layer, MADE)]
    return _squared_norm([*summed, *made]), _squared_norm(summed)


def _factors(layer: Any, name: str) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """A and B of an adapter in this layer, B with its scale; nothing if it has none there."""
    for first, second in (
        (layer.lora_A, layer.lora_B),
        (layer.lora_embedding_A, layer.lora_embedding_B),
    ):
        if name in first:
            a, b = (getattr(it[name], "weight", it[name]) for it in (first, second))
            scaled = layer.scaling[name] * b.detach().double().flatten(1)
            yield a.detach().double().flatten(1), scaled


def _squared_norm(factors: "Sequence[tuple[torch.Tensor, torch.Tensor]]") -> float:
    """Of the sum of the products B A: the trace of (B^T B)(A A^T), with all factors side by side.
    No product of the layer's size is made."""
    if not factors:
        return 0.0
    a = torch.cat([first for first, _ in factors])
    b = torch.cat([second for _, second in factors], dim=1)
    return max(0.0, float(((b.T @ b) * (a @ a.T)).sum()))
