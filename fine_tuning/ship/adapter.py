"""An adapter's directory: of which base model it is, what it holds, and what it cannot become."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.disk import hashes
from fine_tuning.errors import ModelError, UsageError
from fine_tuning.ship import weights
from fine_tuning.units import counted
from fine_tuning.values.tables.combining import COMBINATIONS
from fine_tuning.values.tables.methods import METHODS, OF_PEFT_TYPE

Config = Mapping[str, Any]  # adapter_config.json, as PEFT writes it
# Virtual tokens before each row: there is no weight to add them to.
PROMPTS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT")
DEQUANTISED = ("mxfp4", "fp8")
# By these a configuration says that some of the layers with a name are not adapted.
OF_SOME_LAYERS = ("layers_to_transform", "layers_pattern", "exclude_modules")
# What makes an adapter one that PEFT does not combine, or would combine without a part of it.
UNCOMBINABLE: Sequence[tuple[Callable[[Config], Any], str]] = (
    (lambda it: it.get("peft_type") != "LORA", "is not of the kind LoRA"),
    (lambda it: it.get("use_dora"), "is a DoRA adapter, whose change is no sum"),
    (lambda it: it.get("bias", "none") != "none" or it.get("lora_bias"), "has trained biases"),
    (
        lambda it: it.get("modules_to_save") or it.get("trainable_token_indices"),
        "holds parts of the model that were trained whole",
    ),
    (lambda it: it.get("target_parameters"), "adapts parameters that are no layer"),
    (lambda it: it.get("layer_replication"), "repeats layers of the base model"),
)


def require_adapter(path: Path) -> None:
    """Raise ModelError for a directory that does not hold an adapter of PEFT, DataError for one
    that is not what was trained."""
    if not path.is_dir():
        raise ModelError(f"There is no directory {path}.", fix="give the directory of an adapter")
    if not (path / "adapter_config.json").is_file() or not any(path.glob("adapter_model.*")):
        raise ModelError(
            f"{path} holds no adapter (adapter_config.json and adapter_model.safetensors).",
            fix="give the directory that a training with --method lora left",
        )
    hashes.require_unchanged(path, "copy the adapter again from where it was trained")


def config_of(path: Path) -> Config:
    """The adapter's configuration. Raises ModelError for one that cannot be read."""
    file = path / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{file} cannot be read: {error}", fix="copy the adapter again, or train it again"
        ) from error
    return config


def method_of(path: Path) -> str | None:
    """The method that left the adapter; None for one that is not offered here."""
    return OF_PEFT_TYPE.get(str(config_of(path).get("peft_type")))


def require_trainable(path: Path, method: str) -> None:
    """Raise ModelError for an adapter that `--method` cannot train further."""
    found = method_of(path)
    if found != method:
        kind = f"--method {found}" if found else "a method that is not offered here"
        raise ModelError(
            f"{path} holds an adapter of {kind}, which --method {method} cannot train further.",
            fix=(f"add --method {found}, or " if found else "")
            + "merge it first (`export`) and give the result as --model_name_or_path",
        )
    if method == "p_tuning" and not (path / "prompt_encoder.safetensors").is_file():
        raise ModelError(
            f"{path} holds no encoder (prompt_encoder.safetensors), so P-tuning cannot go on.",
            why="PEFT keeps the prompt that it computes, and not what computes it",
            fix="give the folder of a run of this program, or train anew",
        )


def require_mergeable(path: Path) -> None:
    """Raise ModelError for virtual tokens, on which no other adapter can be trained."""
    found = method_of(path)
    if found and not METHODS[found].mergeable:
        raise ModelError(
            f"{path} holds virtual tokens (--method {found}), which no base can take in.",
            why="another adapter is to be trained on the merged model",
            fix="leave this adapter out",
        )


def base_of(path: Path) -> str | None:
    """The base model that the adapter was trained on, by the name or path of that time.

    Raises ModelError for a configuration that cannot be read.
    """
    named = config_of(path).get("base_model_name_or_path")
    return named if isinstance(named, str) and named else None


def chat_template_of(path: Path) -> str | None:
    """The chat template that lies beside the adapter: the one that was trained."""
    file = path / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def refuse_prompts(path: Path) -> None:
    """Raise UsageError for virtual tokens, which no merge can put into a model."""
    kind = config_of(path).get("peft_type")
    if kind in PROMPTS:
        raise UsageError(
            f"{path} holds virtual tokens ({str(kind).lower()}), which cannot be merged.",
            fix="load it with PEFT beside its base model",
        )


def refuse_quantised(base: Path) -> None:
    """Raise ModelError for a base model whose weights are stored quantised: no sum fits there.

    LLaMA-Factory loads formats that it dequantises itself (model/model_utils/quantization.py).
    """
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        stored = config.get("quantization_config") or {}
        method = str(stored.get("quant_method") or "")
    except (OSError, ValueError, AttributeError):  # a hub's name; what is damaged is named later
        return
    if method and method not in DEQUANTISED:
        raise ModelError(
            f"{base} is stored quantised ({method}): no adapter can be merged into it.",
            fix="serve base and adapter unmerged (leave --export_dir out); or merge into the model "
            "that it was quantised from: export --model_name_or_path ORIGINAL "
            "--adapter_name_or_path ADAPTER --export_dir DIR",
        )


def refuse_uncombinable(adapters: Sequence[Path], how: str) -> None:
    """Raise UsageError, with all that is wrong, for adapters that cannot be combined so."""
    configs = {path: config_of(path) for path in adapters}
    mistakes = [
        f"{path} {reason}: it cannot be combined with others."
        for path, config in configs.items()
        for applies, reason in UNCOMBINABLE
        if applies(config)
    ]
    ranks = [config.get("r") for config in configs.values()]
    if not mistakes and COMBINATIONS[how].one_rank and len(set(ranks)) > 1:
        others = " or ".join(name for name in ("cat", "svd", f"{how}_svd") if name in COMBINATIONS)
        mistakes.append(
            f"--combine {how} takes adapters of one rank, and these have "
            f"{', '.join(map(str, ranks))}: take {others}."
        )
    if mistakes:
        raise UsageError(mistakes)


def require_fitting(path: Path, base: Path) -> None:
    """Raise ModelError for an adapter whose layers, by name and size, are not those of the base
    model: by the headers of their files, so that nothing is loaded."""
    if halves := weights.incomplete_layers(path):
        raise ModelError(
            f"{path} is not whole: of {counted(len(halves), 'layer')}, first {halves[0]}, it has "
            "one of the two matrices.",
            fix="copy the adapter again from where it was trained",
        )
    layers, of_base = weights.adapted_layers(path), weights.by_place(base)
    if not layers or not of_base:
        return
    fix = f"give the base model that it was trained on ({path.name} names {base_of(path)})"
    config = config_of(path)
    targets, chosen = config.get("target_modules"), any(map(config.get, OF_SOME_LAYERS))
    passed = weights.gaps(path, base, targets) if isinstance(targets, list) and not chosen else []
    if passed:
        raise ModelError(
            f"{path} is not whole: it has nothing for {counted(len(passed), 'layer')} that its "
            f"configuration names, first {min(passed)}.",
            fix="copy the adapter again from where it was trained",
        )
    known = {place: size for place, size in layers.items() if place in of_base}
    if not known:
        raise ModelError(
            f"{path} is no adapter of {base}: it has no layer named {next(iter(layers))}.", fix=fix
        )
    for place, size in known.items():
        if sorted(size) != sorted(of_base[place]):
            raise ModelError(
                f"{path} is no adapter of {base}: its {place} is {_by(size)}, the base model's "
                f"{_by(of_base[place])}.",
                fix=fix,
            )


def _by(size: Sequence[int]) -> str:
    return " x ".join(f"{number:,}" for number in size)
