"""Held-out rows as ids, for what is not a model of Transformers'."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import drawn_rows
from fine_tuning.engine.worker.scoring.asking import document_ids
from fine_tuning.engine.worker.scoring.generate import Limit
from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import with_answer
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments


def held_out_pairs(
    *,
    events: Events,
    model: Mapping[str, Any],
    rows_path: str,
    samples: int,
    seed: int | None = None,
) -> dict[str, Any]:
    """Prompt and expected answer of the first rows, or of some that a seed draws, as `model`
    (engine/chatting.py: SpokenModel) was trained; the ids that end an answer, and how many tokens
    it may have. Rows with media, and those that are marked as bad, are left out."""
    model_args, data_args, _, _ = get_infer_args(engine_arguments(model["settings"]))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    read = [
        with_answer(row)
        for row in drawn_rows(Path(rows_path), samples, seed)
        if not any(media_of(row)) and row.get("label") is not False
    ]
    if model["documents"]:
        pairs = [document_ids(tokenizer, row) for row in read]
        stop_ids = []
    else:
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        prompts = prompts_of(template, tokenizer, model["served"])
        pairs, stop_ids = prompts.pairs(read), [*prompts.stop_ids]
    return {
        "pairs": pairs,
        "stop_ids": stop_ids,
        "most_new": Limit().tokens(pairs),
    }
