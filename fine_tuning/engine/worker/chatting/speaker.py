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
from fine_tuning.engine.worker.scoring.prompts import OfDocuments, Questions, prompts_of
from fine_tuning.errors import ModelError

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
    """The model of a request (engine/chatting.py: SpokenModel), loaded when it is first asked for.

    Raises ModelError for one without a chat template.
    """
    return _loaded(json.dumps(model, sort_keys=True))


@lru_cache(maxsize=KEPT)
def _loaded(asked: str) -> Speaker:
    model = json.loads(asked)
    model_args, data_args, finetuning_args, _ = get_infer_args(dict(model["settings"]))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    questions = _questions(model, template, tokenizer)
    with mended_loading(None if torch.cuda.is_available() else torch.float32):
        network = load_model(tokenizer, model_args, finetuning_args)
    ends = network.generation_config.eos_token_id  # a number, several, or none
    ends = ends if isinstance(ends, list) else [ends]
    stop_ids = {*questions.stop_ids, tokenizer.eos_token_id, *ends} - {None}
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if model["adapter"]:
        network = PeftModel.from_pretrained(network, model["adapter"]).eval()
    return Speaker(network, tokenizer, questions, sorted(stop_ids), context, bool(model["adapter"]))


def _questions(model: Mapping[str, Any], template: Any, tokenizer: Any) -> Questions:
    if model["documents"]:
        return OfDocuments(tokenizer)
    served = model["served"]
    if served is not None and not (served["chat_template"] or tokenizer.chat_template):
        raise ModelError(
            f"{model['settings']['model_name_or_path']} has no chat template.",
            why="nothing says how a question is put to it",
            fix="name one of LLaMA-Factory's with --template, or take a model that was tuned to "
            "chat",
        )
    return prompts_of(template, tokenizer, served)
