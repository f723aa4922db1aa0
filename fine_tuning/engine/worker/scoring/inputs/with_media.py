"""Loss and answers on held-out rows with media, one row at a time.

LLaMA-Factory's own template and collator make the inputs, as they do for the training.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from llamafactory.data.collator import MultiModalDataCollatorForSeq2Seq
from llamafactory.extras.constants import IGNORE_INDEX

from fine_tuning.engine.worker.scoring.inputs.prompts import Prompts
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import engine_messages

Ids = list[int]
MADE_BY_GENERATE = ("labels", "position_ids", "rope_deltas")  # for each new token anew
KINDS = {1: "image_token_id", 2: "video_token_id"}  # of tokens, where positions depend on media


class MediaModel:
    """A model that takes media, with all that makes its inputs."""

    def __init__(
        self, model: Any, tokenizer: Any, template: Any, processor: Any, prompts: Prompts
    ) -> None:
        """`stop_ids`, which end an answer, are at first those that were trained."""
        self.model = model
        self.tokenizer = tokenizer
        self.template = template
        self.processor = processor
        self.prompts = prompts
        self.stop_ids: Sequence[int] = prompts.stop_ids

    def prompt_and_answer(self, row: Mapping[str, Any]) -> tuple[Ids, Ids]:
        """Token ids of everything before the last answer, and of the last answer."""
        plugin, media = self.template.mm_plugin, media_of(row)
        messages = plugin.process_messages(engine_messages(row), *media, self.processor)
        prompt, answer = self.template.encode_oneturn(
            self.tokenizer, messages, row.get("system") or "", row.get("tools") or ""
        )
        prompt, _ = plugin.process_token_ids(prompt, None, *media, self.tokenizer, self.processor)
        return prompt, answer

    def logits(self, row: Mapping[str, Any], ids: Sequence[int]) -> torch.Tensor:
        """For each of the ids, the logits of the one after it; shape (1, ids, vocabulary)."""
        inputs = self._inputs(row, ids)
        inputs.pop("labels", None)
        found: torch.Tensor = self.model(**inputs, use_cache=False).logits
        return found

    def answer(self, row: Mapping[str, Any], prompt: Sequence[int], **how: Any) -> Ids:
        """The ids that `generate`, told `how`, appends to the prompt."""
        inputs = self._inputs(row, prompt)
        for name in MADE_BY_GENERATE:
            inputs.pop(name, None)
        if self.collate.get_rope_func is not None and "mm_token_type_ids" not in inputs:
            inputs["mm_token_type_ids"] = self._kinds(inputs["input_ids"])
        generated = self.model.generate(**inputs, **how)
        ids: Ids = generated[0, len(prompt) :].tolist()
        return ids

    @cached_property
    def collate(self) -> Any:
        """LLaMA-Factory's collator: media are read, and positions counted by them."""
        return MultiModalDataCollatorForSeq2Seq(
            tokenizer=self.tokenizer,
            model=self.model,
            template=self.template,
            processor=self.processor,
            label_pad_token_id=IGNORE_INDEX,
        )

    def _inputs(self, row: Mapping[str, Any], ids: Sequence[int]) -> dict[str, Any]:
        images, videos, audios = media_of(row)
        example = {
            "input_ids": list(ids),
            "attention_mask": [1] * len(ids),
            "labels": [IGNORE_INDEX] * len(ids),
            "images": images,
            "videos": videos,
            "audios": audios,
        }
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            if torch.is_tensor(value)
            else value
            for name, value in self.collate([example]).items()
        }

    def _kinds(self, ids: torch.Tensor) -> torch.Tensor:
        kinds = torch.zeros_like(ids)
        for kind, name in KINDS.items():
            token = getattr(self.model.config, name, None)
            if token is not None:
                kinds[ids == token] = kind
        return kinds
