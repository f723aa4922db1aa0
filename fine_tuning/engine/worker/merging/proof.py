"""Whether a merged model is base + adapter, up to the rounding of its own number format.

Two comparisons, each against what rounding alone explains:

* Weights. What an adapted layer must hold is computed in float32 by merging that layer alone; the
  file must hold a rounding of it, number by number. A layer left out, another adapter or another
  scale shows in every number that training moved by more than one rounding; where it moved none by
  so much, the merged weights are those of the base, and that is said as the share `kept`.
* Logits, on real rows. The same merge in memory shows how far rounding moves the logits of this
  model; those of the files may not lie farther from it than that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig

from fine_tuning.engine.worker.auto_class import auto_class
from fine_tuning.engine.worker.scoring.batches import free_device_memory
from fine_tuning.errors import EngineError

LOOKED_AT = 4096  # numbers of each weight, at places drawn once
# How PEFT names the parts of an adapted model, and the copies that are trained whole.
WRAPPED, TRAINED_COPY = "base_model.model.", re.compile(r"\.modules_to_save\.[^.]+\.")
FLOAT32_ROUNDINGS = 64  # of float32, for sums that are added in another order
# A weight is rounded when the change is, when it is added, and when it is scaled (DoRA).
ROUNDINGS = 3
TIMES_NOISE = 2


@dataclass(frozen=True)
class Expected:
    """What some numbers of an adapted weight must be, and what they are in the base."""

    places: "torch.Tensor"
    merged: "torch.Tensor"
    base: "torch.Tensor"
    slack: float  # of float32 arithmetic


def prove(
    base: str,
    source: Mapping[str, Any],
    adapters: Sequence[str],
    merged: Path,
    loading: Mapping[str, Any],
    sequences: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Figures of the comparison, or why there is none. Raises EngineError if it is another model.

    Of several adapters all but the last are merged into the base first, as LLaMA-Factory does
    (model/adapter.py); `source` and `loading` are how base and merged model are loaded.
    """
    loader = auto_class(AutoConfig.from_pretrained(base, **source))
    try:
        model = loader.from_pretrained(base, **source, **loading)
    except ValueError as error:  # a class that Transformers does not know by its config
        reason = f"the base model cannot be loaded by itself: {_first_sentence(error)}"
        return {"proved": False, "reason": reason}
    _grow_like(merged, model, trust=bool(source["trust_remote_code"]))
    for adapter in adapters[:-1]:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    dtype = model.dtype
    tuned_model = PeftModel.from_pretrained(model, adapters[-1])
    tuned = logits_of(tuned_model, sequences)
    with tuned_model.disable_adapter():
        plain = logits_of(tuned_model, sequences)
    expected = dict(_expected(tuned_model))
    untouched = dict(_untouched(tuned_model, dtype))
    model = tuned_model.merge_and_unload().to(dtype)
    rounded = logits_of(model, sequences)
    names = {name for name, _ in _weights(model)}
    del model, tuned_model
    free_device_memory()
    trust = source["trust_remote_code"]
    model = loader.from_pretrained(merged, trust_remote_code=trust, **loading)
    kept = _require_weights(model, names, expected, untouched)
    found = logits_of(model, sequences)
    noise = distance(rounded, tuned)
    apart, allowed = distance(found, rounded), _allowed(noise, tuned, dtype)
    if not apart <= allowed:  # also where it is not a number
        raise _another_model(
            f"its logits differ by {apart:.2g}, where rounding explains {allowed:.2g}"
        )
    return {
        "proved": True,
        "rows": len(sequences),
        "agreement": agreement(tuned, found),
        "mean_logit_difference": distance(found, tuned),
        "moved_by_training": distance(plain, tuned),
        "kept": kept,
    }


def _expected(tuned: Any) -> Iterator[tuple[str, Expected]]:
    """For each adapted weight, by its name in a model without adapters."""
    for name, layer in tuned.named_modules():
        if isinstance(layer, ParamWrapper):  # one for each adapted weight of the same module
            weight = layer.get_param()
            places, before = _drawn(weight)
            delta = sum(layer.get_delta_weight(it) for it in layer.active_adapters)
            drawn = before + delta.detach().flatten()[places].float().cpu()
            plain = name.removeprefix(WRAPPED).replace(".base_layer", "")
            yield f"{plain}.{layer.parameter_name}", Expected(places.cpu(), drawn, before, 0.0)
            continue
        weight = getattr(layer.get_base_layer(), "weight", None) if _is_adapted(layer) else None
        if weight is None or weight.is_meta:
            continue
        places, before = _drawn(weight)
        alone = deepcopy(layer).float()
        alone.merge()
        whole = alone.get_base_layer().weight.detach()
        moved = float((whole - weight.detach().float()).abs().max())
        slack = FLOAT32_ROUNDINGS * torch.finfo(torch.float32).eps * moved
        drawn = whole.flatten()[places].cpu()
        yield f"{name.removeprefix(WRAPPED)}.weight", Expected(places.cpu(), drawn, before, slack)


def _untouched(tuned: Any, dtype: "torch.dtype") -> Iterator[tuple[str, Any]]:
    """Numbers of all weights, by their names in a model without adapters, before anything is
    merged: what an adapter must leave alone, and copies that were trained whole. Those of the
    adapter itself are among them, under names that no model has."""
    for name, weight in _weights(tuned):
        if ".original_module." not in name and not weight.is_meta:
            plain = TRAINED_COPY.sub(".", name.removeprefix(WRAPPED)).replace(".base_layer", "")
            yield plain, _drawn(weight.to(dtype))


def _weights(model: Any) -> Iterator[tuple[str, Any]]:
    """All weights by name; one that is used in two places is there under both names."""
    yield from model.named_parameters(remove_duplicate=False)


def _is_adapted(layer: Any) -> bool:
    return isinstance(layer, BaseTunerLayer) and not isinstance(
        layer.get_base_layer(), BaseTunerLayer
    )


def _drawn(weight: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Places in the flat weight, the same ones for each of its size, and its numbers there."""
    count = weight.numel()
    places = torch.arange(count)
    if count > LOOKED_AT:
        places = torch.randint(count, (LOOKED_AT,), generator=torch.Generator().manual_seed(count))
    here = places.to(weight.device)
    return here, weight.detach().flatten()[here].float().cpu()


def _require_weights(
    model: Any,
    names: Set[str],
    expected: Mapping[str, Expected],
    untouched: Mapping[str, Any],
) -> float:
    """The share of what training changed that the merged weights hold, which must have these names.
    Raises EngineError. What lies on a disk for want of memory is not looked at."""
    there = dict(_weights(model))
    if there.keys() != names:
        raise _another_model(f"it has other weights: {', '.join(sorted(there.keys() ^ names)[:4])}")
    held = wanted = 0.0
    for name, weight in there.items():
        if weight.is_meta or not (name in expected or name in untouched):
            continue
        numbers = weight.detach().flatten()
        if name not in expected:
            places, before = untouched[name]
            wrong = numbers[places.to(numbers.device)].float().cpu() != before
        else:
            it = expected[name]
            found = numbers[it.places.to(numbers.device)].float().cpu()
            change = it.merged - it.base
            held += float((found - it.base) @ change)
            wanted += float(change @ change)
            wrong = ~((found - it.merged).abs() <= _rounding(it, weight.dtype))
        if bool(wrong.any()):
            raise _another_model(
                f"{int(wrong.sum()):,} of {len(wrong):,} numbers of {name} are none that rounding "
                "to its format explains"
            )
    return held / wanted if wanted else 1.0


def _rounding(it: Expected, dtype: "torch.dtype") -> "torch.Tensor":
    """How far rounding may move each number: half a unit in the last place, each time."""
    kind = torch.finfo(dtype)
    size = it.merged.abs() + (it.merged - it.base).abs()
    return ROUNDINGS * (kind.eps / 2 * size + kind.smallest_normal * kind.eps) + it.slack


def _allowed(noise: float, logits: "Sequence[torch.Tensor]", dtype: "torch.dtype") -> float:
    """The distance of two computations of the same logits: as measured, or of one rounding."""
    size = float(torch.cat([it.abs().mean(-1) for it in logits]).mean())
    return TIMES_NOISE * max(noise, float(torch.finfo(dtype).eps) * size)


def _another_model(how: str) -> EngineError:
    return EngineError(
        f"The merged model is not base + adapter: {how}.",
        why="the merge changed the model, or changed nothing; it was not kept",
        fix="serve base and adapter unmerged, and please report the model's name",
    )


def _grow_like(merged: Path, model: Any, *, trust: bool) -> None:
    """Give the base the rows that added tokens need; the adapter brings their weights."""
    config = AutoConfig.from_pretrained(merged, trust_remote_code=trust).get_text_config()
    if config.vocab_size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(config.vocab_size)


def _first_sentence(error: Exception) -> str:
    """Transformers goes on with a list of all the classes that it would have taken."""
    return str(error).splitlines()[0].split(". ")[0].rstrip(".:")[:200]


def agreement(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Share of positions with the same most likely token."""
    same = [(a.argmax(-1) == b.argmax(-1)) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(same).float().mean())


def distance(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Mean absolute difference of the logits."""
    apart = [(a - b).abs().mean(-1) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(apart).mean())


def logits_of(model: Any, sequences: Sequence[Sequence[int]]) -> "list[torch.Tensor]":
    """The logits after each token of each sequence, as float32. Raises EngineError if one is not
    a finite number: nothing could be compared."""
    model.eval()
    with torch.no_grad():
        found = [
            model(input_ids=torch.tensor([list(s)]).to(model.device), use_cache=False)
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
