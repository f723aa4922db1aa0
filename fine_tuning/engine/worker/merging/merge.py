"""Merging an adapter into its base model with LLaMA-Factory's `export_model`, and checking it."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.misc import try_download_model_from_other_hub
from llamafactory.hparams.data_args import DataArguments
from llamafactory.hparams.model_args import ModelArguments
from llamafactory.train.tuner import export_model
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.mended import mended_loading
from fine_tuning.engine.worker.merging.as_published import (
    keep_config,
    keep_names,
    keep_tokenizer_files,
)
from fine_tuning.engine.worker.merging.proof import prove
from fine_tuning.engine.worker.merging.reward_model import (
    make_classifier,
    prove_rewards,
    require_classifier,
)
from fine_tuning.engine.worker.merging.shards.choose import fitting_size, goes_by_shards
from fine_tuning.engine.worker.merging.shards.export import merged_by_shards, on_disk
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.engine.worker.scoring.inputs.prompts import Prompts, prompts_of
from fine_tuning.engine.worker.scoring.score import template_settings

PROBES, PROBE_TOKENS = 4, 1024
# For adapters that come without rows.
SENTENCES = (
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "水在零度结冰，在一百度沸腾。",
    "def add(a, b):\n    return a + b\n",
    "Dear colleagues, the meeting on Tuesday is moved to three o'clock.",
)


def merge(
    *,
    events: Events,
    settings: Mapping[str, Any],
    base: str,
    partial_dir: str,
    probe_rows: str | None,
    chat_template: str | None,
    served: Mapping[str, Any] | None = None,
    merge_in: str = "auto",
) -> dict[str, Any]:
    """Export into `partial_dir` (which the caller then renames), fit to be served as trained.

    `settings` are LLaMA-Factory's export arguments without `export_dir` and `infer_dtype`;
    `merge_in` is --merge_in. The generation config ends where training ended; configuration and
    tokenizer files are the base model's own, with `chat_template` instead of theirs if it is given.
    `proof` in the result has the figures of the comparison with base + adapter, or with the model
    that was trained whole, or the reason why there is none. A reward model becomes a classifier
    with one label; `rewards` then compares it with the value head. Raises EngineError if the merged
    model is another, or the base.
    """
    events.part("merge")
    out = Path(partial_dir)
    free_device_memory()
    base = _local_base(settings, base)
    trust = bool(settings.get("trust_remote_code"))
    source = {"trust_remote_code": trust, **_revision(settings, base)}
    dtype = _dtype_of(base, source)
    is_judge = settings.get("stage") == "rm"
    if is_judge:
        require_classifier(AutoConfig.from_pretrained(base, **source))
    adapters = [name for name in settings.get("adapter_name_or_path", "").split(",") if name]
    loading: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    by_shards = goes_by_shards(merge_in, base, source, settings, adapters, events)
    if by_shards:
        loading |= on_disk(base, source)
        settings = {**settings, "export_size": fitting_size(settings["export_size"], events)}
    elif torch.cuda.is_available():
        loading["device_map"] = "auto"
    merging = merged_by_shards(loading) if by_shards else nullcontext()
    with mended_loading(loading["dtype"]), merging:
        export_model({**settings, "export_dir": str(out), "infer_dtype": dtype})
    _say_untied(out)
    keep_names(base, out, source)
    keep_config(base, out, source)
    (out / "Modelfile").unlink(missing_ok=True)  # claims a context and a template of its own
    tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=trust)
    data_args = DataArguments(**template_settings(settings))
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    prompts = prompts_of(template, tokenizer, served)
    stop_ids = sorted(set(prompts.stop_ids))
    _stop_where_training_stopped(out, stop_ids, tokenizer.pad_token_id)
    keep_tokenizer_files(base, out, len(tokenizer), source)
    if chat_template is not None:
        write_chat_template(out, chat_template)
    result: dict[str, Any] = {
        "dtype": dtype,
        "by_shards": by_shards,
        "stop_ids": [] if is_judge else stop_ids,
    }
    events.stage("prove")
    free_device_memory()  # of what was exported
    sequences = _probes(probe_rows, prompts, tokenizer)
    trained = adapters or str(settings["model_name_or_path"])
    result["proof"] = prove(base, source, trained, out, loading, sequences, by_shards=by_shards)
    if is_judge:
        events.part("classify")
        rows = conversations(probe_rows)
        ends = {*stop_ids, *(ids[-1] for ids in prompts.conversations(rows))}
        precision = getattr(torch, dtype)
        constant = make_classifier(out, sorted(ends), dtype=precision, trust=trust)
        keep_config(base, out, source)
        result["rewards"] = prove_rewards(
            settings, served, out, rows, constant, dtype=precision, events=events
        )
    result["bytes"] = sum(f.stat().st_size for f in out.iterdir() if f.is_file())
    result["seconds"] = events.seconds()
    return result


def _probes(rows: str | None, prompts: Prompts, tokenizer: Any) -> list[list[int]]:
    """What the models are compared on: real rows, or a few sentences where there are none."""
    if rows is None:
        found = [tokenizer.encode(text, add_special_tokens=True) for text in SENTENCES]
    else:
        pairs = prompts.pairs(first_rows(Path(rows), PROBES))
        found = [[*prompt, *answer] for prompt, answer in pairs]
    return [ids[:PROBE_TOKENS] for ids in found]


def conversations(rows: str | None) -> list[dict[str, Any]]:
    """What rewards are compared on: real rows, or a few sentences as answers."""
    if rows is not None:
        return first_rows(Path(rows), PROBES)
    asked = {"from": "user", "value": "Say something."}
    return [
        {"conversations": [asked, {"from": "assistant", "value": text}], "system": "", "tools": ""}
        for text in SENTENCES
    ]


def write_chat_template(folder: Path, chat_template: str) -> None:
    """Ship the template that was trained: in the file of its own, and where older code looks."""
    (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if path.exists():
        config = json.loads(path.read_text(encoding="utf-8"))
        config["chat_template"] = chat_template
        text = json.dumps(config, ensure_ascii=False, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def _local_base(settings: Mapping[str, Any], base: str) -> str:
    """The base model as it lies on disk, if another hub than Hugging Face's keeps it."""
    names = ("model_revision", "cache_dir")
    known = {name: settings[name] for name in names if name in settings}
    arguments = ModelArguments(model_name_or_path=base, **known)
    return str(try_download_model_from_other_hub(arguments))


def _revision(settings: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Where Transformers finds the same revision of the base model."""
    if Path(base).is_dir():
        return {}
    return {
        "revision": settings.get("model_revision", "main"),
        "cache_dir": settings.get("cache_dir"),
    }


def _dtype_of(base: str, source: Mapping[str, Any]) -> str:
    """The base model's own precision; LLaMA-Factory would turn float32 into half precision."""
    config = AutoConfig.from_pretrained(base, **source)
    dtype = getattr(config, "dtype", None) or torch.float32
    return str(dtype).removeprefix("torch.")


def _say_untied(out: Path) -> None:
    """Of a head that was trained apart from the embeddings the config must not say that they are
    one: Transformers 4, vLLM and llama.cpp then drop the head's weights."""
    saved: set[str] = set()
    for file in out.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            saved |= set(weights.keys())
    if not any(name.endswith("lm_head.weight") for name in saved):
        return
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, config.get("text_config") or {}):
        if part.get("tie_word_embeddings"):
            part["tie_word_embeddings"] = False
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _stop_where_training_stopped(out: Path, stop_ids: Sequence[int], pad_id: int | None) -> None:
    path = out / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = config.get("eos_token_id", [])
    known = known if isinstance(known, list) else [known]
    merged = [*stop_ids, *(token for token in known if token not in stop_ids)]
    config["eos_token_id"] = merged[0] if len(merged) == 1 else merged
    if pad_id is not None:
        config.setdefault("pad_token_id", pad_id)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
