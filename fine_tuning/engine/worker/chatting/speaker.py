"""A model loaded to speak with: as LLaMA-Factory loads it, its adapter to be switched off."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer
from peft import PeftModel

from fine_tuning.engine.worker.loading import mended_loading
from fine_tuning.engine.worker.scoring.batches import free_device_memory
from fine_tuning.engine.worker.scoring.prompts import (
    OfDocuments,
    Questions,
    prompts_of,
    require_template,
    stop_ids_of,
)

# A whole model and the one that it was trained from; an adapter's base is the same model.
KEPT = 2


@dataclass(frozen=True)
class Speaker:
    """A loaded model, how it is asked, the ids that end its answers, and the tokens it can read."""

    network: Any
    tokenizer: Any
    questions: Questions
    stop_ids: Sequence[int]
    context: int | None
    adapted: bool

    def with_adapter(self, on: bool) -> AbstractContextManager[None]:
        """The adapter counts inside, or does not."""
        if on or not self.adapted:
            return nullcontext()
        off: AbstractContextManager[None] = self.network.disable_adapter()
        return off


def speaker_of(model: Mapping[str, Any]) -> Speaker:
    """The model of a request (process/chatting.py: SpokenModel), loaded when it is first asked for.

    Raises ModelError for one without a chat template.
    """
    return _loaded(json.dumps(model, sort_keys=True))


def forget_speakers() -> None:
    """Let go of all loaded models: what comes next needs the memory."""
    _loaded.cache_clear()
    free_device_memory()


@lru_cache(maxsize=KEPT)
def _loaded(asked: str) -> Speaker:
    model = json.loads(asked)
    model_args, data_args, finetuning_args, _ = get_infer_args(dict(model["settings"]))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    questions = _questions(model, template, tokenizer)
    with mended_loading(None if torch.cuda.is_available() else torch.float32):
        network = load_model(tokenizer, model_args, finetuning_args)
    stop_ids = stop_ids_of(network, tokenizer, questions.stop_ids)
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if model["adapter"]:
        network = PeftModel.from_pretrained(network, model["adapter"]).eval()
    return Speaker(network, tokenizer, questions, stop_ids, context, bool(model["adapter"]))


def _questions(model: Mapping[str, Any], template: Any, tokenizer: Any) -> Questions:
    if model["documents"]:
        return OfDocuments(tokenizer)
    served = model["served"]
    require_template(model["settings"]["model_name_or_path"], tokenizer, served)
    return prompts_of(template, tokenizer, served)
