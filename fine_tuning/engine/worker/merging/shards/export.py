"""A merge for which the memory holds no whole model: LLaMA-Factory's export, a shard at a time.

LLaMA-Factory loads the model as it always does, but for the weights, which Transformers leaves on
the disk; its merging of adapters is put off until Transformers saves a weight.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import llamafactory.extras.packages  # noqa: F401  mends a guard before llamafactory.model reads TRL
import torch
from accelerate.utils import PrefixedDataset
from llamafactory.model import loader
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig

from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.engine.worker.merging.reference import (
    Models,
    Reference,
    drawn,
    expected_of,
    logits_of,
)
from fine_tuning.engine.worker.merging.shards.unloaded import (
    Beside,
    Merged,
    Stored,
    Weights,
    beneath,
    merged_alone,
    offloading,
    weightless,
    with_weights,
)


def on_disk(base: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """How Transformers loads a model and leaves its weights where they are: all but the smallest
    module, because Accelerate knows no model that is nowhere else (big_modeling.py:
    dispatch_model)."""
    config = AutoConfig.from_pretrained(base, **source)
    trust = bool(source["trust_remote_code"])
    model = weightless(auto_class(config), config, torch.float32, trust=trust)
    sizes: dict[str, int] = {}
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{above}.") for above in sizes)
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if not is_inside and module.state_dict() and own:
            sizes[name] = sum(weight.numel() for weight in module.state_dict().values())
    smallest = min(sizes, key=sizes.__getitem__)
    return {
        "device_map": {**dict.fromkeys(sizes, "disk"), smallest: "cpu"},
    }


@contextmanager
def merged_by_shards(loading: Mapping[str, Any]) -> Iterator[None]:
    """What LLaMA-Factory exports inside is read, merged and written shard by shard; `loading` is
    that of `on_disk`, with the number format."""
    known = loader.patch_config, loader.init_adapter
    dtype, places = loading["dtype"], loading["device_map"]

    def patch_config(config: Any, tokenizer: Any, model_args: Any, init: Any, train: bool) -> None:
        known[0](config, tokenizer, model_args, init, train)
        init["device_map"] = places

    def init_adapter(config: Any, model: Any, model_args: Any, _: Any, __: bool) -> Any:
        trust = bool(model_args.trust_remote_code)
        weights: Any = Stored(model)
        for adapter in model_args.adapter_name_or_path or ():
            empty = weightless(auto_class(config), config, dtype, trust=trust)
            weights = Merged(weights, PeftModel.from_pretrained(empty, adapter), dtype)
        for name, weight in model.named_parameters():
            if not weight.is_meta:
                weight.data = weights[name]
        for hook in offloading(model):
            hook.weights_map = PrefixedDataset(weights, hook.weights_map.prefix)
        model.to = lambda *_, **__: model  # every weight is written in this format
        return model

    loader.patch_config, loader.init_adapter = patch_config, init_adapter
    try:
        yield
    finally:
        loader.patch_config, loader.init_adapter = known


def base_on_disk_with(adapters: Sequence[str], models: Models) -> Reference:
    """As `reference.base_with`, with one layer in memory at a time."""
    stored, dtype = models.load_base(), models.loading["dtype"]

    def empty() -> Any:
        return weightless(models.loader, stored.config, dtype, trust=models.trust)

    below: Weights = Stored(stored)
    for adapter in adapters[:-1]:
        below = Merged(below, PeftModel.from_pretrained(empty(), adapter), dtype)
    weights = Merged(below, PeftModel.from_pretrained(empty(), adapters[-1]), dtype)
    expected = {
        f"{place}.{name}": expected_of(below_it[name], whole)
        for place, layer in weights.layers.items()
        if isinstance(layer, BaseTunerLayer)
        for below_it in (beneath(below, place),)
        for name, whole in merged_alone(layer, below_it, exactly=True).named_parameters()
    }
    tuned = PeftModel.from_pretrained(empty(), adapters[-1])
    tuned = with_weights(tuned, Beside(below, tuned))
    logits = logits_of(tuned, models.sequences)
    with tuned.disable_adapter():
        plain = logits_of(tuned, models.sequences)
    return Reference(
        called="base + adapter",
        dtype=dtype,
        tuned=logits,
        base=plain,
        rounded=logits_of(with_weights(empty(), weights), models.sequences),
        names=frozenset(weights),
        expected=expected,
        untouched={name: drawn(weights[name]) for name in weights if name not in expected},
    )
