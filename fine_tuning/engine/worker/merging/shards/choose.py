"""Whether a model is merged whole in memory, or a shard at a time."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftConfig, PeftModel
from safetensors import safe_open
from transformers import AutoConfig

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.engine.worker.merging.shards.unloaded import adapted_layers, weightless
from fine_tuning.errors import UsageError
from fine_tuning.units import bytes_text

# What a merge in memory takes with its proof: 1.9 times the weights, and 0.94 GB of libraries
# (bench/merge_memory.py).
TIMES_WEIGHTS, BESIDE = 2, 10**9
SHARDS_AT_ONCE = 2  # one that is written, and the next that is merged
# Kinds of adapters of which PEFT merges a layer by that layer's weights alone, and beginnings of
# LoRA's factors that leave the base model's weights as they are.
BY_LAYER = ("LORA", "ADALORA", "OFT", "IA3", "VERA", "LN_TUNING")
BEGINNINGS = (True, False, "gaussian", "orthogonal")
GROWS = ("add_tokens", "add_special_tokens", "new_special_tokens_config", "resize_vocab")


def goes_by_shards(
    wish: str,
    base: str,
    source: Mapping[str, Any],
    settings: Mapping[str, Any],
    adapters: Sequence[str],
    events: Events,
) -> bool:
    """Whether to merge a shard at a time: `wish` is --merge_in, and `auto` goes by free memory.

    Raises UsageError for `shards` where that cannot be done.
    """
    weights = (*Path(base).glob("*.safetensors"), *Path(base).glob("*.bin"))
    needed = TIMES_WEIGHTS * sum(file.stat().st_size for file in weights) + BESIDE
    free = free_memory()
    if wish == "memory" or (wish == "auto" and needed <= free):
        return False
    because = f"merging in memory takes about {bytes_text(needed)}, and {bytes_text(free)} is free"
    reason = needs_whole(base, source, settings, adapters)
    if not reason:
        events.note(
            f"The model is merged a shard at a time: {because}."
            if wish == "auto"
            else "The model is merged a shard at a time."
        )
        return True
    if wish == "shards":
        raise UsageError(
            f"--merge_in shards: {reason}.",
            fix="leave it out, or say --merge_in memory",
        )
    events.note(f"There may be too little memory: {because}. By shards it cannot be: {reason}.")
    return False


def fitting_size(wished: int, events: Events) -> int:
    """The shard size in GB, lowered to what is free: two shards lie in memory at most."""
    free = free_memory()
    fitting = max(1, (free - BESIDE) // (SHARDS_AT_ONCE * 10**9))
    if wished <= fitting:
        return wished
    events.note(
        f"Shards are of {fitting} GB instead of {wished} (--export_size): two lie in memory at a "
        f"time, and {bytes_text(free)} is free."
    )
    return fitting


def free_memory() -> int:
    """Bytes that may be taken: of the machine, or of the container's limit (Linux' cgroup v2)."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit, used = (
            int((group / f"memory.{name}").read_text(encoding="utf-8"))
            for name in ("max", "current")
        )
        free = min(free, limit - used)
    return free


def needs_whole(
    base: str, source: Mapping[str, Any], settings: Mapping[str, Any], adapters: Sequence[str]
) -> str:
    """Why this model cannot be merged by shards; empty if it can."""
    if not adapters:
        return "the model was trained without an adapter"
    if settings.get("stage") == "rm":
        return "a reward model becomes a classifier, which is made in memory"
    if any(settings.get(name) for name in GROWS):
        return "the vocabulary has grown"
    stored: set[str] = set()
    for file in Path(base).glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            stored |= set(weights.keys())
    if not stored:
        return "the base model's weights are in no safetensors files"
    config = AutoConfig.from_pretrained(base, **source)
    for adapter in adapters:
        try:
            model = weightless(
                auto_class(config), config, torch.float32, trust=bool(source["trust_remote_code"])
            )
        except ValueError:
            return f"Transformers has no class for {config.model_type} by its configuration"
        tied = model.all_tied_weights_keys
        names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        if model.state_dict().keys() != names or not names - tied.keys() <= stored:
            return f"Transformers keeps {config.model_type} otherwise than its files do"
        if reason := _reason_of(adapter, model, {*tied, *tied.values()}):
            return f"{adapter} {reason}"
    return ""


def _reason_of(adapter: str, model: Any, tied: set[str]) -> str:
    """What is in the way with this adapter upon this model, whose `tied` weights have two names."""
    config = PeftConfig.from_pretrained(adapter).to_dict()
    kind, begins = str(getattr(config["peft_type"], "value", "")), config.get("init_lora_weights")
    if kind not in BY_LAYER or config.get("target_parameters"):
        return "is of a kind that PEFT does not merge layer by layer"
    if begins not in (*BEGINNINGS, None):
        return f"begins as {begins}, which changes the base model's weights"
    try:
        places = dict(adapted_layers(PeftModel.from_pretrained(model, adapter)))
    except RuntimeError:  # PEFT saves embeddings with an adapter that touches them
        return "brings weights of the base model"
    if any(name.startswith(f"{place}.") for name in tied for place in places):
        return "changes weights that the model uses in two places"
    return ""
