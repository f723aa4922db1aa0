"""What a model's own tokenizer makes of texts and conversations: what servers must make too."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import GenerationConfig

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.tokenizer import own_tokenizer
from fine_tuning.engine.worker.served.text.chat_template import Message, Refused, template_of


def tokenizer_facts(
    *,
    events: Events,
    model: str,
    texts: Sequence[str],
    chats: Sequence[Sequence[Message]],
    trust_remote_code: bool,
) -> Mapping[str, Any]:
    """Fields of `values.results.TokenizerFacts`."""
    tokenizer = own_tokenizer(model, trust_remote_code=trust_remote_code)
    template = template_of(tokenizer)
    rendered: list[str | None] = []
    for messages in chats:
        try:
            text = template.render(messages, prompt=True) if template else None
        except Refused:
            text = None
        rendered.append(text)

    def ids(text: str | None) -> list[int] | None:
        return None if text is None else tokenizer.encode(text, add_special_tokens=False)

    return {
        "texts": [ids(text) for text in texts],
        "prompts": [ids(text) for text in rendered],
        "rendered": rendered,
        "template": template.source if template else None,
        "stops": [tokenizer.decode([token]) for token in _stop_ids(model, tokenizer)],
        "begins": tokenizer.bos_token
        if tokenizer("a").input_ids[0] == tokenizer.bos_token_id
        else "",
    }


def _stop_ids(model: str, tokenizer: Any) -> list[int]:
    try:
        ends = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:  # there is no such file
        ends = tokenizer.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or ())
