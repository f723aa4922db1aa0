"""A model loaded to speak with: as LLaMA-Factory loads it, its adapter to be switched off."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model

from fine_tuning.engine.worker.loading.attached import (
    adapters_of,
    attached,
    require_read,
    with_adapter,
)
from fine_tuning.engine.worker.loading.mended import mended_loading
from fine_tuning.engine.worker.loading.tokenizer import whole_tokenizer
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.engine.worker.scoring.inputs.prompts import (
    OfDocuments,
    Questions,
    prompts_of,
    require_template,
    stop_ids_of,
)

# A whole model and the one that it was trained from; adapters and their base are one model.
KEPT = 2


@dataclass(frozen=True)
class Speaker:
    """A loaded model, which of its adapters answers (empty: none), how it is asked, the ids that
    end its answers, and the tokens it can read."""

    network: Any
    adapter: str
    tokenizer: Any
    questions: Questions
    stop_ids: Sequence[int]
    context: int | None

    def answering(self) -> AbstractContextManager[None]:
        """Inside, the network is the one that answers."""
        return with_adapter(self.network, self.adapter)

    def base(self) -> AbstractContextManager[None]:
        """Inside, no adapter counts."""
        return with_adapter(self.network, "")


@dataclass(frozen=True)
class Loaded:
    """What several speakers share."""

    network: Any
    tokenizer: Any
    template: Any


def speaker_of(model: Mapping[str, Any]) -> Speaker:
    """The model of a request (process/chatting.py: SpokenModel), loaded when it is first asked for;
    those that differ in the adapter that answers, and in how they are asked, are one loaded model.

    Raises ModelError for one without a chat template.
    """
    loaded = _loaded(json.dumps([model["settings"], adapters_of(model)], sort_keys=True))
    questions = _questions(model, loaded)
    return Speaker(
        network=loaded.network,
        adapter=model["adapter"],
        tokenizer=loaded.tokenizer,
        questions=questions,
        stop_ids=stop_ids_of(loaded.network, loaded.tokenizer, questions.stop_ids),
        context=getattr(loaded.network.config.get_text_config(), "max_position_embeddings", None),
    )


def forget_speakers() -> None:
    """Let go of all loaded models: what comes next needs the memory."""
    _loaded.cache_clear()
    free_device_memory()


@lru_cache(maxsize=KEPT)
def _loaded(asked: str) -> Loaded:
    settings, adapters = json.loads(asked)
    model_args, data_args, finetuning_args, _ = get_infer_args(settings)
    tokenizer = whole_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    with mended_loading(None if torch.cuda.is_available() else torch.float32):
        network = load_model(tokenizer, model_args, finetuning_args)
    network = attached(network, adapters)
    require_read(network, adapters)
    return Loaded(network, tokenizer, template)


def _questions(model: Mapping[str, Any], loaded: Loaded) -> Questions:
    if model["documents"]:
        return OfDocuments(loaded.tokenizer)
    served = model["served"]
    require_template(model["settings"]["model_name_or_path"], loaded.tokenizer, served)
    return prompts_of(loaded.template, loaded.tokenizer, served)
