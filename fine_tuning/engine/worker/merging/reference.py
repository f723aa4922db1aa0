"""What a merged model must be, in float32: base + adapters, or a model that was trained whole."""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig

from fine_tuning.engine.worker.merging.shards.unloaded import WRAPPED, usual_device
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.errors import EngineError

LOOKED_AT = 4096  # numbers of each weight, at places drawn once
# How PEFT names the copies that are trained whole.
TRAINED_COPY = re.compile(r"\.modules_to_save\.[^.]+\.")
FLOAT32_ROUNDINGS = 64  # of float32, for sums that are added in another order
Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Models:
    """The base and the merged model, how both are loaded (`loader` is their auto class, `source`
    also says where the base's code and revision come from), and the rows that both are asked."""

    base: str
    merged: Path
    loader: Any
    source: Mapping[str, Any]
    loading: Mapping[str, Any]
    sequences: Sequences

    @property
    def trust(self) -> bool:
        """Whether code of the base's may run."""
        return bool(self.source["trust_remote_code"])

    def load_base(self) -> Any:
        """The base. Raises ValueError for a class that Transformers does not know."""
        return self.loader.from_pretrained(self.base, **self.source, **self.loading)

    def load(self, directory: Path | str, **otherwise: Any) -> Any:
        """The merged model, or another one that was trained of the base."""
        how = {**self.loading, **otherwise}
        return self.loader.from_pretrained(directory, trust_remote_code=self.trust, **how)


@dataclass(frozen=True)
class Expected:
    """What some numbers of a trained weight must be, and what they are in the base."""

    places: "torch.Tensor"
    merged: "torch.Tensor"
    base: "torch.Tensor"
    slack: float  # of float32 arithmetic


@dataclass(frozen=True)
class Reference:
    """What the merged model is compared with. Logits are of the same rows: of the tuned model, of
    the base, and of the tuned model whose weights are rounded to the merged one's format."""

    called: str
    dtype: "torch.dtype"
    tuned: "Sequence[torch.Tensor]"
    base: "Sequence[torch.Tensor]"
    rounded: "Sequence[torch.Tensor]"
    names: frozenset[str]  # of all weights
    expected: Mapping[str, Expected]
    untouched: "Mapping[str, tuple[torch.Tensor, torch.Tensor]]"


def base_with(adapters: Sequence[str], models: Models) -> Reference:
    """Of several adapters all but the last are merged into the base first, as LLaMA-Factory does
    (model/adapter.py)."""
    model = models.load_base()
    _grow_like(models.merged, model, trust=models.trust)
    for adapter in adapters[:-1]:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    dtype = model.dtype
    tuned_model = PeftModel.from_pretrained(model, adapters[-1])
    tuned = logits_of(tuned_model, models.sequences)
    with tuned_model.disable_adapter():
        plain = logits_of(tuned_model, models.sequences)
    expected = dict(_expected(tuned_model))
    untouched = dict(_untouched(tuned_model, dtype))
    model = tuned_model.merge_and_unload().to(dtype)
    return Reference(
        called="base + adapter",
        dtype=dtype,
        tuned=tuned,
        base=plain,
        rounded=logits_of(model, models.sequences),
        names=frozenset(name for name, _ in weights_of(model)),
        expected=expected,
        untouched=untouched,
    )


def trained_whole(whole: str, models: Models) -> Reference:
    """The model that a full or freeze training left, in the precision in which it was saved."""
    model = models.load_base()
    dtype = model.dtype
    _grow_like(models.merged, model, trust=models.trust)
    plain = logits_of(model, models.sequences)
    before = {name: drawn(weight)[1] for name, weight in weights_of(model) if not weight.is_meta}
    del model
    free_device_memory()
    model = models.load(whole, dtype=torch.float32)  # holds what any format of a training does
    expected = {}
    for name, weight in weights_of(model):
        if not weight.is_meta:
            places, numbers = drawn(weight)
            known = before.get(name, numbers)  # a layer that the training has put in
            start = known if known.shape == numbers.shape else numbers
            expected[name] = Expected(places.cpu(), numbers, start, 0.0)
    tuned = logits_of(model, models.sequences)
    return Reference(
        called="the trained checkpoint",
        dtype=dtype,
        tuned=tuned,
        base=plain,
        rounded=logits_of(model.to(dtype), models.sequences),
        names=frozenset(expected),
        expected=expected,
        untouched={},
    )


def _expected(tuned: Any) -> Iterator[tuple[str, Expected]]:
    """For each adapted weight, by its name in a model without adapters."""
    for name, layer in tuned.named_modules():
        if isinstance(layer, ParamWrapper):  # one for each adapted weight of the same module
            weight = layer.get_param()
            places, before = drawn(weight)
            delta = sum(layer.get_delta_weight(it) for it in layer.active_adapters)
            after = before + delta.detach().flatten()[places].float().cpu()
            plain = name.removeprefix(WRAPPED).replace(".base_layer", "")
            yield f"{plain}.{layer.parameter_name}", Expected(places.cpu(), after, before, 0.0)
            continue
        weight = getattr(layer.get_base_layer(), "weight", None) if _is_adapted(layer) else None
        if weight is None or weight.is_meta:
            continue
        alone = deepcopy(layer).float()
        alone.merge()
        whole = alone.get_base_layer().weight.detach()
        yield f"{name.removeprefix(WRAPPED)}.weight", expected_of(weight, whole)


def expected_of(weight: "torch.Tensor", whole: "torch.Tensor") -> Expected:
    """Numbers of a weight and of what it becomes, which was merged in float32."""
    places, before = drawn(weight)
    moved = float((whole - weight.detach().float()).abs().max())
    slack = FLOAT32_ROUNDINGS * torch.finfo(torch.float32).eps * moved
    return Expected(places.cpu(), whole.detach().flatten()[places].cpu(), before, slack)


def _untouched(tuned: Any, dtype: "torch.dtype") -> Iterator[tuple[str, Any]]:
    """Numbers of all weights, by their names in a model without adapters, before anything is
    merged: what an adapter must leave alone, and copies that were trained whole. Those of the
    adapter itself are among them, under names that no model has."""
    for name, weight in weights_of(tuned):
        if ".original_module." not in name and not weight.is_meta:
            plain = TRAINED_COPY.sub(".", name.removeprefix(WRAPPED)).replace(".base_layer", "")
            yield plain, drawn(weight.to(dtype))


def weights_of(model: Any) -> Iterator[tuple[str, Any]]:
    """All weights by name; one that is used in two places is there under both names."""
    yield from model.named_parameters(remove_duplicate=False)


def _is_adapted(layer: Any) -> bool:
    return isinstance(layer, BaseTunerLayer) and not isinstance(
        layer.get_base_layer(), BaseTunerLayer
    )


def drawn(weight: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Places in the flat weight, the same ones for each of its size, and its numbers there."""
    count = weight.numel()
    places = torch.arange(count)
    if count > LOOKED_AT:
        places = torch.randint(count, (LOOKED_AT,), generator=torch.Generator().manual_seed(count))
    here = places.to(weight.device)
    return here, weight.detach().flatten()[here].float().cpu()


def _grow_like(merged: Path, model: Any, *, trust: bool) -> None:
    """Give the base the rows that added tokens need; the adapter brings their weights."""
    config = AutoConfig.from_pretrained(merged, trust_remote_code=trust).get_text_config()
    if config.vocab_size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(config.vocab_size)


def logits_of(model: Any, sequences: Sequence[Sequence[int]]) -> "list[torch.Tensor]":
    """The logits after each token of each sequence, as float32. Raises EngineError if one is not
    a finite number: nothing could be compared."""
    model.eval()
    device = model.device if model.device.type != "meta" else usual_device()
    with torch.no_grad():
        found = [
            model(input_ids=torch.tensor([list(s)]).to(device), use_cache=False)
            .logits[0]
            .float()
            .cpu()
            for s in sequences
        ]
    if not all(bool(torch.isfinite(it).all()) for it in found):
        raise EngineError(
            "The model gives logits that are not finite numbers, so nothing can be proved.",
            why="its weights, or what it computes from them, leave the range of their format",
            fix="train again with a smaller --learning_rate, or serve base and adapter unmerged",
        )
    return found
