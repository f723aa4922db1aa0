"""Merging an adapter into its base model with LLaMA-Factory's `export_model`, and checking it."""

import gc
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments
from llamafactory.train.tuner import export_model
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.generate import prompts_and_answers
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.errors import EngineError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
PROBES = 4
# Rounding of merged weights moves logits a little; the most likely token may change only where
# two were nearly equal.
LEAST_AGREEMENT = 0.95


def merge(
    *,
    events: Events,
    settings: Mapping[str, Any],
    base: str,
    adapter: str | None,
    partial_dir: str,
    probe_rows: str | None,
    template_differs: bool,
) -> dict[str, Any]:
    """Export into `partial_dir` (which the caller then renames), fit to be served as trained.

    `settings` are LLaMA-Factory's export arguments without `export_dir` and `infer_dtype`. The
    generation config ends where training ended; the tokenizer files are the base model's own
    (transformers 5 would write a class that 4.x cannot load). Raises EngineError if the merged
    model does not predict what base and adapter predict.
    """
    out = Path(partial_dir)
    free_device_memory()
    trust = bool(settings.get("trust_remote_code"))
    dtype = _dtype_of(base, trust)
    export_model({**settings, "export_dir": str(out), "infer_dtype": dtype})
    (out / "Modelfile").unlink(missing_ok=True)  # claims a context and a template of its own
    tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=trust)
    data_args = {k: settings[k] for k in ("template", "enable_thinking") if k in settings}
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(**data_args))
    stop_ids = sorted(set(template.get_stop_token_ids(tokenizer)))
    _stop_where_training_stopped(out, stop_ids, tokenizer.pad_token_id)
    if not template_differs:
        _restore_tokenizer_files(base, out, len(tokenizer), trust)
    result: dict[str, Any] = {
        "dtype": dtype,
        "bytes": sum(f.stat().st_size for f in out.iterdir() if f.is_file()),
        "stop_ids": stop_ids,
    }
    if adapter and probe_rows:
        events.stage("prove")
        pairs = prompts_and_answers(first_rows(Path(probe_rows), PROBES), template, tokenizer)
        sequences = [[*prompt, *answer] for prompt, answer in pairs]
        loading = {"dtype": getattr(torch, dtype), "trust_remote_code": trust}
        if torch.cuda.is_available():
            loading["device_map"] = "auto"
        result["proof"] = _prove(base, adapter, out, loading, sequences)
    return result


def free_device_memory() -> None:
    """Give back what a training before this left on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _dtype_of(base: str, trust: bool) -> str:
    """The base model's own precision; LLaMA-Factory would turn float32 into half precision."""
    config = AutoConfig.from_pretrained(base, trust_remote_code=trust)
    dtype = getattr(config, "dtype", None) or torch.float32
    return str(dtype).removeprefix("torch.")


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


def _restore_tokenizer_files(base: str, out: Path, vocabulary: int, trust: bool) -> None:
    """Put back the base model's tokenizer files, if the vocabulary is unchanged."""
    if len(AutoTokenizer.from_pretrained(base, trust_remote_code=trust)) != vocabulary:
        return
    source = Path(base)
    if not source.is_dir():
        from huggingface_hub import snapshot_download

        source = Path(snapshot_download(base, allow_patterns=list(TOKENIZER_FILES)))
    found = [name for name in TOKENIZER_FILES if (source / name).exists()]
    if not found:
        return
    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
    for name in found:
        shutil.copy(source / name, out / name)


def _prove(
    base: str,
    adapter: str,
    merged: Path,
    loading: Mapping[str, Any],
    sequences: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Compare the logits of base + adapter with those of the merged model on real rows."""
    model = AutoModelForCausalLM.from_pretrained(base, **loading)
    reference = _logits(PeftModel.from_pretrained(model, adapter), sequences)
    del model
    free_device_memory()
    found = _logits(AutoModelForCausalLM.from_pretrained(merged, **loading), sequences)
    pairs = list(zip(reference, found, strict=True))
    difference = max((a - b).abs().max().item() for a, b in pairs)
    same = sum((a.argmax(-1) == b.argmax(-1)).sum().item() for a, b in pairs)
    positions = sum(len(sequence) for sequence in sequences)
    agreement = same / positions
    if agreement < LEAST_AGREEMENT:
        raise EngineError(
            f"The merged model predicts another token than base + adapter at {1 - agreement:.0%} "
            f"of {positions} positions.",
            why="the merge changed the model; it was not kept",
            fix="serve base and adapter unmerged, and please report the model's name",
        )
    return {"rows": len(sequences), "max_logit_difference": difference, "agreement": agreement}


def _logits(model: Any, sequences: Sequence[Sequence[int]]) -> "list[torch.Tensor]":
    model.eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([list(s)]).to(model.device), use_cache=False)
            .logits[0]
            .float()
            .cpu()
            for s in sequences
        ]
