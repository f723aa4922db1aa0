"""Models of which no weight is loaded: each is read, and merged, when it is asked for.

An adapter is put upon a model whose weights take no memory (one number, seen at every place), so
that PEFT makes its layers as it always does. A layer is then merged by PEFT alone, upon its own
weights of the base, which are forgotten afterwards.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from accelerate import cpu_offload, init_empty_weights
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper

WRAPPED = "base_model.model."  # how PEFT names the model that it has adapted


class Weights(Mapping[str, "torch.Tensor"]):
    """Weights by name; to ask for a name reads nothing."""

    names: Collection[str]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Stored(Weights):
    """The weights of a model by their names, those of two names under both. What Transformers has
    left on the disk is read when it is asked for."""

    def __init__(self, model: Any) -> None:
        self.loaded = dict(model.named_parameters(remove_duplicate=False))
        self.names = self.loaded.keys()
        self.on_disk: Mapping[str, torch.Tensor] = next(
            (hook.weights_map.dataset for hook in offloading(model)), {}
        )
        self.tied = model.all_tied_weights_keys

    def __getitem__(self, name: str) -> "torch.Tensor":
        weight = self.loaded[name]
        if not weight.is_meta:
            return weight.data
        return self.on_disk[self.tied.get(name, name)]


class Merged(Weights):
    """Weights with an adapter merged into them by PEFT, in one number format."""

    def __init__(self, weights: Weights, tuned: Any, dtype: "torch.dtype") -> None:
        self.weights, self.dtype, self.names = weights, dtype, weights.names
        self.layers = dict(adapted_layers(tuned))

    def __getitem__(self, name: str) -> "torch.Tensor":
        if name not in self.names:
            raise KeyError(name)  # Accelerate asks for some that there might be
        found = self.layer_of(name)
        if found is None:
            return self.weights[name].to(self.dtype)
        place, layer = found
        whole = merged_alone(layer, beneath(self.weights, place))
        return whole.get_parameter(name.removeprefix(f"{place}.")).detach().to(self.dtype)

    def layer_of(self, name: str) -> tuple[str, Any] | None:
        """The adapted layer that a weight belongs to, with its place."""
        while name:
            name = name.rpartition(".")[0]
            if name in self.layers:
                return name, self.layers[name]
        return None


class Beside(Weights):
    """Weights of a model with an adapter in it, by their names there: nothing is merged."""

    def __init__(self, weights: Weights, tuned: Any) -> None:
        self.weights = weights
        self.own = {
            name: weight.data
            for name, weight in tuned.state_dict(keep_vars=True).items()
            if plain(name) not in weights
        }
        self.names = [*self.own, *weights]

    def __getitem__(self, name: str) -> "torch.Tensor":
        return self.own[name] if name in self.own else self.weights[plain(name)]


def plain(name: str) -> str:
    """The name of a base model's weight without the parts that PEFT puts in."""
    name = name.removeprefix(WRAPPED).replace(".original_module.", ".")
    return name.replace(".base_layer.", ".")


def offloading(model: Any) -> Iterator[Any]:
    """The hooks of Accelerate that bring offloaded weights for a moment."""
    for module in model.modules():
        hook: Any = getattr(module, "_hf_hook", None)
        for it in getattr(hook, "hooks", (hook,)):
            if getattr(it, "offload", False) and it.weights_map is not None:
                yield it


def weightless(loader: Any, config: Any, dtype: "torch.dtype", *, trust: bool) -> Any:
    """The model of a configuration, with one zero at every place of every weight."""
    with init_empty_weights(include_buffers=False):
        model = loader.from_config(config, dtype=dtype, trust_remote_code=trust)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            zeros = torch.zeros(1, dtype=dtype).expand(weight.shape)
            setattr(module, name, torch.nn.Parameter(zeros, requires_grad=False))
    return model.eval()


def with_weights(model: Any, weights: Weights) -> Any:
    """A model without weights that reads those of each layer while that layer computes."""
    preload = {type(layer).__name__ for _, layer in adapted_layers(model)}
    return cpu_offload(
        model, usual_device(), state_dict=weights, preload_module_classes=sorted(preload)
    )


def usual_device() -> "torch.device":
    """Where a model computes whose weights are nowhere."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def adapted_layers(tuned: Any) -> Iterator[tuple[str, Any]]:
    """Adapted layers and modules that were trained whole, by their names in the plain model."""
    above = None
    for name, module in tuned.named_modules():
        if above is not None and name.startswith(above):
            continue
        if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            above = f"{name}."
            yield name.removeprefix(WRAPPED), module


def beneath(weights: Weights, place: str) -> dict[str, "torch.Tensor"]:
    """The weights of one module, by their names in it."""
    start = f"{place}."
    return {name.removeprefix(start): weights[name] for name in weights if name.startswith(start)}


def merged_alone(
    layer: Any, weights: Mapping[str, "torch.Tensor"], *, exactly: bool = False
) -> Any:
    """A module of its own: this layer upon these weights, merged by PEFT (`exactly`: in float32).

    Weights that it does not change are among its own too.
    """
    with holding(layer, weights):
        alone = deepcopy(layer)
    alone = alone.float() if exactly else alone
    if isinstance(alone, AuxiliaryTrainingWrapper):
        return alone.unload_and_optionally_merge_module(True, False, None)
    alone.merge()
    return alone.get_base_layer()


@contextmanager
def holding(layer: Any, weights: Mapping[str, "torch.Tensor"]) -> Iterator[None]:
    """The layer holds these weights of the base model, for as long as the block runs."""
    is_tuner = isinstance(layer, BaseTunerLayer)
    module = layer.get_base_layer() if is_tuner else layer.original_module
    known = dict(module.named_parameters())
    before = {name: weight.data for name, weight in known.items()}
    for name, weight in known.items():
        weight.data = weights[name]
    try:
        yield
    finally:
        for name, weight in known.items():
            weight.data = before[name]
