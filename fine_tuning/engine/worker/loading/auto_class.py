"""Which of Transformers' classes loads a model."""

from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoModelForTextToWaveform,
)

BEYOND_TEXT = (AutoModelForImageTextToText, AutoModelForSeq2SeqLM, AutoModelForTextToWaveform)


def auto_class(config: Any) -> Any:
    """The one that LLaMA-Factory takes for such a model (llamafactory/model/loader.py)."""
    for known in BEYOND_TEXT:
        if type(config) in known._model_mapping:
            return known
    return AutoModelForCausalLM
