"""Merging an adapter into its base model with LLaMA-Factory's `export_model`, and checking it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.misc import try_download_model_from_other_hub
from llamafactory.hparams.data_args import DataArguments
from llamafactory.hparams.model_args import ModelArguments
from llamafactory.train.tuner import export_model
from peft import PeftModel
from transformers import AutoConfig, AutoTokenizer

from fine_tuning.engine.worker.auto_class import auto_class
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.engine.worker.scoring.generate import free_device_memory, prompts_and_answers
from fine_tuning.engine.worker.scoring.score import template_settings
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
PROBES, PROBE_TOKENS = 4, 1024
# Rounding of merged weights moves logits a little; the most likely token may change only where
# two were nearly equal.
LEAST_AGREEMENT = 0.95
# The merged model must lie much nearer to base + adapter than the base alone does.
MOST_REMAINING = 0.5


def merge(
    *,
    events: Events,
    settings: Mapping[str, Any],
    base: str,
    adapter: str | None,
    partial_dir: str,
    probe_rows: str,
    unprovable: str,
    chat_template: str | None,
) -> dict[str, Any]:
    """Export into `partial_dir` (which the caller then renames), fit to be served as trained.

    `settings` are LLaMA-Factory's export arguments without `export_dir` and `infer_dtype`. The
    generation config ends where training ended; the tokenizer files are the base model's own
    (transformers 5 would write a class that 4.x cannot load), with `chat_template` instead of
    theirs if it is given. `proof` in the result has the figures of the comparison with base +
    adapter, or the reason why there is none: `unprovable`, if there is no single adapter. Raises
    EngineError if the merged model does not predict what base and adapter predict.
    """
    out = Path(partial_dir)
    free_device_memory()
    base = _local_base(settings, base)
    trust = bool(settings.get("trust_remote_code"))
    source = {"trust_remote_code": trust, **_revision(settings, base)}
    dtype = _dtype_of(base, source)
    export_model({**settings, "export_dir": str(out), "infer_dtype": dtype})
    (out / "Modelfile").unlink(missing_ok=True)  # claims a context and a template of its own
    tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=trust)
    data_args = DataArguments(**template_settings(settings))
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    stop_ids = sorted(set(template.get_stop_token_ids(tokenizer)))
    _stop_where_training_stopped(out, stop_ids, tokenizer.pad_token_id)
    _restore_tokenizer_files(base, out, len(tokenizer), source)
    if chat_template is not None:
        write_chat_template(out, chat_template)
    result: dict[str, Any] = {
        "dtype": dtype,
        "bytes": sum(f.stat().st_size for f in out.iterdir() if f.is_file()),
        "stop_ids": stop_ids,
    }
    if adapter is None:
        result["proof"] = _not_proved(unprovable)
    else:
        events.stage("prove")
        pairs = prompts_and_answers(first_rows(Path(probe_rows), PROBES), template, tokenizer)
        sequences = [[*prompt, *answer][:PROBE_TOKENS] for prompt, answer in pairs]
        loading = {"dtype": getattr(torch, dtype)}
        if torch.cuda.is_available():
            loading["device_map"] = "auto"
        result["proof"] = _prove(base, source, adapter, out, loading, sequences)
    return result


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


def _restore_tokenizer_files(
    base: str, out: Path, vocabulary: int, origin: Mapping[str, Any]
) -> None:
    """Put back the base model's tokenizer files, if the vocabulary is unchanged."""
    if len(AutoTokenizer.from_pretrained(base, **origin)) != vocabulary:
        return
    source = Path(base)
    if not source.is_dir():
        from huggingface_hub import snapshot_download

        where = {name: origin[name] for name in ("revision", "cache_dir") if name in origin}
        source = Path(snapshot_download(base, allow_patterns=list(TOKENIZER_FILES), **where))
    found = [name for name in TOKENIZER_FILES if (source / name).exists()]
    if not found:
        return
    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
    for name in found:
        shutil.copy(source / name, out / name)


def _not_proved(reason: str) -> dict[str, Any]:
    return {"proved": False, "reason": reason}


def _prove(
    base: str,
    source: Mapping[str, Any],
    adapter: str,
    merged: Path,
    loading: Mapping[str, Any],
    sequences: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Compare the logits of base + adapter with those of the merged model on real rows.

    They must agree, and differ from those of the base alone as base + adapter do: an export that
    merged nothing is told apart from a good one by that.
    """
    loader = auto_class(AutoConfig.from_pretrained(base, **source))
    try:
        model = loader.from_pretrained(base, **source, **loading)
    except ValueError as error:  # a class that Transformers does not know by its config
        return _not_proved(f"the base model cannot be loaded by itself: {_first_sentence(error)}")
    _grow_like(merged, model, trust=bool(source["trust_remote_code"]))
    tuned_model = PeftModel.from_pretrained(model, adapter)
    tuned = _logits(tuned_model, sequences)
    with tuned_model.disable_adapter():
        plain = _logits(tuned_model, sequences)
    del model, tuned_model
    free_device_memory()
    trust = source["trust_remote_code"]
    found = _logits(loader.from_pretrained(merged, trust_remote_code=trust, **loading), sequences)
    agreement = _agreement(tuned, found)
    learnt, left = _distance(plain, tuned), _distance(found, tuned)
    if agreement < LEAST_AGREEMENT or (learnt > 0 and left > MOST_REMAINING * learnt):
        raise EngineError(
            f"The merged model does not answer like base + adapter: the most likely token is the "
            f"same at {agreement:.0%} of the positions, and its logits differ by {left:.2g}, where "
            f"training moved them by {learnt:.2g}.",
            why="the merge changed the model, or changed nothing; it was not kept",
            fix="serve base and adapter unmerged, and please report the model's name",
        )
    largest = max((a - b).abs().max().item() for a, b in zip(tuned, found, strict=True))
    return {
        "proved": True,
        "rows": len(sequences),
        "agreement": agreement,
        "max_logit_difference": largest,
        "mean_logit_difference": left,
        "moved_by_training": learnt,
    }


def _grow_like(merged: Path, model: Any, *, trust: bool) -> None:
    """Give the base the rows that added tokens need; the adapter brings their weights."""
    config = AutoConfig.from_pretrained(merged, trust_remote_code=trust).get_text_config()
    if config.vocab_size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(config.vocab_size)


def _first_sentence(error: Exception) -> str:
    """Transformers goes on with a list of all the classes that it would have taken."""
    return str(error).splitlines()[0].split(". ")[0].rstrip(".:")[:200]


def _agreement(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Share of positions with the same most likely token."""
    same = [(a.argmax(-1) == b.argmax(-1)) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(same).float().mean())


def _distance(these: "Sequence[torch.Tensor]", those: "Sequence[torch.Tensor]") -> float:
    """Mean absolute difference of the logits."""
    apart = [(a - b).abs().mean(-1) for a, b in zip(these, those, strict=True)]
    return float(torch.cat(apart).mean())


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
