"""Names and shapes of weights, from the headers of safetensors files: nothing is loaded."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fine_tuning.units import counted

Shape = tuple[int, ...]
# Where a layer stands, without what is before its stack: classes and formats put other words there.
PLACE = re.compile(r"(?:^|\.)(\w+\.\d+\..+)$")
FACTOR = re.compile(r"^(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?:embedding_)?(?P<which>[AB])")


def shapes(folder: Path) -> Iterator[tuple[str, Shape]]:
    """Each weight in the folder's safetensors files, by its name; none if there are none."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as weights:
                for name in weights.keys():  # noqa: SIM118  # no mapping
                    yield name, tuple(weights.get_slice(name).get_shape())
        except SafetensorError:  # what cannot be read is named where it is loaded
            continue


def place_of(name: str) -> str:
    """A layer's name from its stack on: `layers.0.mlp.up_proj`; else its last word."""
    found = PLACE.search(name)
    return found.group(1) if found else name.rpartition(".")[2]


def by_place(folder: Path) -> Mapping[str, Shape]:
    """The matrices of a model, by the places of their layers."""
    return {
        place_of(name.removesuffix(".weight")): shape
        for name, shape in shapes(folder)
        if name.endswith(".weight") and len(shape) == 2
    }


def unknown_layers(adapter: Path, base: Path) -> tuple[list[str], int]:
    """Layers of an adapter that the base model's files name otherwise, and how many it has: vLLM
    finds an adapter's layers by those names, and serves the base in place of those it does not."""
    known = {name.removesuffix(".weight") for name, _ in shapes(base)}
    layers = sorted(
        {found["layer"] for name, _ in shapes(adapter) if (found := FACTOR.match(name))}
    )
    return [layer for layer in layers if layer not in known] if known else [], len(layers)


def warning_of_names(adapter: Path, base: Path) -> str:
    """What somebody should know who serves this adapter; empty if all its layers have the names of
    the base model's files."""
    unknown, layers = unknown_layers(adapter, base)
    if not unknown:
        return ""
    return (
        f"{len(unknown)} of {counted(layers, 'layer')} of the adapter have other names in the base "
        f"model's files, first {unknown[0]}: a server that goes by those names, as vLLM does, "
        "serves the base model in their place and says nothing. Serve the merged model "
        "(`export --export_dir`)."
    )


def incomplete_layers(adapter: Path) -> list[str]:
    """Layers of a LoRA adapter of whose two matrices its file has one: PEFT fills the other with
    random numbers, or none, and says nothing."""
    found: dict[str, set[str]] = {}
    for name, _ in shapes(adapter):
        if (part := FACTOR.match(name)) is not None:
            found.setdefault(part["layer"], set()).add(part["which"])
    return sorted(layer for layer, which in found.items() if which != {"A", "B"})


def gaps(adapter: Path, base: Path, targets: Sequence[str]) -> list[str]:
    """Layers of the base model that an adapter passes over, though its targets have their name and
    later layers have them: PEFT adds nothing there, and says nothing. Not those of experts, which
    may be adapted together; none for a model that also sees or hears, whose parts share names."""
    known, have = by_place(base), adapted_layers(adapter).keys()
    if any(word in name for name, _ in shapes(base) for word in ("visi", "visual", "audio")):
        return []
    last: dict[str, int] = {}  # name -> the last layer of the stack that has it
    for place in have:
        number, name = re.findall(r"\d+", place), place.rpartition(".")[2]
        if number and name in targets:
            last[name] = max(int(number[0]), last.get(name, 0))
    return [
        place
        for place in known.keys() - have
        if "experts" not in place
        and (number := re.findall(r"\d+", place))
        and int(number[0]) < last.get(place.rpartition(".")[2], 0)
    ]


def adapted_layers(adapter: Path) -> Mapping[str, Shape]:
    """The layers of a LoRA adapter by their places, each with its outputs and inputs."""
    factors: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes(adapter):
        if (found := FACTOR.match(name)) and len(shape) == 2:
            factors.setdefault(place_of(found["layer"]), {})[found["which"]] = shape
    return {
        place: (both["B"][0], both["A"][1]) for place, both in factors.items() if len(both) == 2
    }
