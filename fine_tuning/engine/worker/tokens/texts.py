"""The ids that a model's own tokenizer makes of texts: what other software must make too."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoTokenizer

from fine_tuning.engine.worker.events import Events


def ids_of_texts(
    *, events: Events, model: str, texts: Sequence[str], trust_remote_code: bool
) -> Mapping[str, Any]:
    """For each text its ids, without those that a tokenizer puts around it; and the chat template
    that goes out with the model (None: there is none)."""
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    has_template = bool(tokenizer.chat_template)
    return {"ids": ids, "template": tokenizer.get_chat_template() if has_template else None}
