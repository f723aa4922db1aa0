"""Scores on held-out rows: exact match by generation, loss and perplexity of the answers."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.generate import (
    answer,
    answer_loss,
    free_device_memory,
    keep_weights_unpacked,
    prompts_and_answers,
    scoring_mode,
)
from fine_tuning.engine.worker.rows import first_rows


@dataclass(frozen=True)
class Scoring:
    """What is scored: the held-out rows, at most `samples` of them, by which measures."""

    rows_path: str
    samples: int
    kind: str


def template_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the engine's settings that decide how a conversation is rendered."""
    names = ("template", "enable_thinking", "default_system", "tool_format")
    return {name: settings[name] for name in names if name in settings}


def score_model(
    model: Any, tokenizer: Any, template: Any, scoring: Scoring, events: Events, stage: str
) -> dict[str, Any]:
    """Metrics and, per row, the prompt, the expected and the given answer.

    `exact_match` is the share of answers equal to the expected text but for white space around
    it; `loss` is in nats per answer token.
    """
    rows = first_rows(Path(scoring.rows_path), scoring.samples)
    if scoring.kind == "text":
        pairs = [_document_ids(tokenizer, row) for row in rows]
    else:
        pairs = prompts_and_answers(rows, template, tokenizer)
    with scoring_mode(model):
        loss, tokens = answer_loss(model, tokenizer, pairs)
        metrics = {"loss": loss, "perplexity": _perplexity(loss), "n": len(rows), "tokens": tokens}
        if scoring.kind == "text":
            return {"metrics": metrics, "samples": []}
        given = answer(
            model,
            tokenizer,
            template,
            pairs,
            lambda done, total: events.progress(done, total, stage=stage),
        )
    samples = [
        {
            "prompt": tokenizer.decode(prompt, skip_special_tokens=False),
            "question": row["conversations"][-2]["value"],
            "expected": row["conversations"][-1]["value"].strip(),
            "answer": text.strip(),
        }
        for row, (prompt, _), text in zip(rows, pairs, given, strict=True)
    ]
    right = sum(sample["answer"] == sample["expected"] for sample in samples)
    metrics["exact_match"] = right / len(samples) if samples else math.nan
    return {"metrics": metrics, "samples": samples}


def _document_ids(tokenizer: Any, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    ids = tokenizer.encode(row["conversations"][0]["value"], add_special_tokens=False)[:1024]
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else ids[:1]
    return start, ids if tokenizer.bos_token_id is not None else ids[1:]


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def score_run(
    *, events: Events, settings: Mapping[str, Any], scoring: Mapping[str, Any], out: str, name: str
) -> dict[str, Any]:
    """Load a model (with adapter, if `settings` name one) by itself and score it.

    Used where the model that was trained is not in this process, as after torchrun.
    """
    model_args, data_args, finetuning_args, _ = get_infer_args(dict(settings))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    model = load_model(tokenizer, model_args, finetuning_args)
    keep_weights_unpacked(model)
    scores = score_model(model, tokenizer, template, Scoring(**scoring), events, name)
    del model  # this process may stay beside the training
    free_device_memory()
    write_scores(Path(out), name, scores)
    return dict(scores["metrics"])


def write_scores(path: Path, name: str, scores: Mapping[str, Any]) -> None:
    """Add the scores under `name` to the JSON file."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = scores
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(known, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)
