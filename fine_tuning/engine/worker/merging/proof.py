"""Whether a merged model is base + adapter, up to the rounding of its own number format.

Two comparisons, each against what rounding alone explains:

* Weights. What an adapted layer must hold is computed in float32 by merging that layer alone; the
  file must hold a rounding of it, number by number. A layer left out, another adapter or another
  scale shows in every number that training moved by more than one rounding; where it moved none by
  so much, the merged weights are those of the base, and that is said as the share `kept`.
* Logits, on real rows. The same merge in memory shows how far rounding moves the logits of this
  model; those of the files may not lie farther from it than that.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.engine.worker.merging.reference import (
    Expected,
    Models,
    Reference,
    base_with,
    logits_of,
    trained_whole,
)
from fine_tuning.engine.worker.merging.shards.export import base_on_disk_with
from fine_tuning.engine.worker.merging.shards.unloaded import Stored
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.errors import EngineError

# A weight is rounded when the change is, when it is added, and when it is scaled (DoRA).
ROUNDINGS = 3
TIMES_NOISE = 2


def prove(
    base: str,
    source: Mapping[str, Any],
    trained: Sequence[str] | str,
    merged: Path,
    loading: Mapping[str, Any],
    sequences: Sequence[Sequence[int]],
    *,
    by_shards: bool = False,
) -> dict[str, Any]:
    """Figures of the comparison, or why there is none. Raises EngineError if it is another model,
    or if the merge changed nothing.

    `trained` are adapters, or the directory of a model that was trained whole; `source` and
    `loading` are how base and merged model are loaded; `by_shards`: so that their weights stay on
    the disk.
    """
    models = Models(
        base=base,
        merged=merged,
        loader=auto_class(AutoConfig.from_pretrained(base, **source)),
        source=source,
        loading=loading,
        sequences=sequences,
    )
    try:
        if isinstance(trained, str):
            reference = trained_whole(trained, models)
        else:
            reference = (base_on_disk_with if by_shards else base_with)(trained, models)
    except ValueError as error:  # a class that Transformers does not know by its config
        # Transformers goes on with a list of all the classes that it would have taken
        first = str(error).splitlines()[0].split(". ")[0].rstrip(".:")[:200]
        reason = f"the base model cannot be loaded by itself: {first}"
        return {"proved": False, "reason": reason}
    free_device_memory()
    model = models.load(merged)
    kept = _require_weights(model, reference)
    found = logits_of(model, sequences)
    noise = distance(reference.rounded, reference.tuned)
    apart = distance(found, reference.rounded)
    allowed = _allowed(noise, reference.tuned, reference.dtype)
    if not apart <= allowed:  # also where it is not a number
        raise _another_model(
            reference,
            f"its logits differ by {apart:.2g}, where rounding explains {allowed:.2g}",
        )
    moved = distance(reference.base, reference.tuned)
    if distance(found, reference.base) == 0 and not _changes(model, reference):
        raise _unchanged(reference)
    return {
        "proved": True,
        "against": reference.called,
        "rows": len(sequences),
        "agreement": agreement(reference.tuned, found),
        "mean_logit_difference": distance(found, reference.tuned),
        "moved_by_training": moved,
        "kept": kept,
    }


def _changes(model: Any, reference: Reference) -> bool:
    """Whether any number of a trained weight is another than the base model's."""
    weights = Stored(model)
    for name, it in reference.expected.items():
        weight = weights[name].detach().flatten()
        if bool((weight[it.places.to(weight.device)].float().cpu() != it.base).any()):
            return True
    return False


def _require_weights(model: Any, reference: Reference) -> float:
    """The share of what training changed that the merged weights hold, which must have these names.
    Raises EngineError."""
    expected, untouched = reference.expected, reference.untouched
    there = Stored(model)
    if there.keys() != reference.names:
        names = reference.names
        raise _another_model(
            reference, f"it has other weights: {', '.join(sorted(there.keys() ^ names)[:4])}"
        )
    held = wanted = 0.0
    for name, weight in there.items():
        if not (name in expected or name in untouched):
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
                reference,
                f"{int(wrong.sum()):,} of {len(wrong):,} numbers of {name} are none that rounding "
                "to its format explains",
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


def _another_model(reference: Reference, how: str) -> EngineError:
    instead = "base and adapter unmerged" if reference.untouched else "the run's own model"
    return EngineError(
        f"The merged model is not {reference.called}: {how}.",
        why="the merge changed the model, or changed nothing; it was not kept",
        fix=f"serve {instead}, and please report the model's name",
    )


def _unchanged(reference: Reference) -> EngineError:
    """The merged model is the base model: nobody trained it, or rounding took it all."""
    called = reference.called
    if not any(bool((it.merged != it.base).any()) for it in reference.expected.values()):
        return EngineError(
            f"The merge changed nothing: {called} answers exactly like the base model.",
            why="its weights are those that a training begins with, or of no layer of this base",
            fix="see that this is the right directory, and that its training had steps",
        )
    kind = str(reference.dtype).removeprefix("torch.")
    return EngineError(
        "The merge changed nothing: every weight is the base model's.",
        why=f"all that training changed is less than one rounding of {kind}",
        fix="serve base and adapter unmerged, or train with a larger --learning_rate",
    )


def agreement(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Share of positions with the same most likely token."""
    same = [(a.argmax(-1) == b.argmax(-1)) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(same).float().mean())


def distance(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Mean absolute difference of the logits."""
    apart = [(a - b).abs().mean(-1) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(apart).mean())
