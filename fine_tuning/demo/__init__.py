"""The demo model and the bundled samples: where they are (`tools/demo_model` makes them)."""

from pathlib import Path

from fine_tuning.disk import resources

SAMPLES = {
    "auto": "alpaca.json",
    "alpaca": "alpaca.json",
    "sharegpt": "sharegpt.json",
    "belle": "belle.jsonl",
    "openai": "openai.jsonl",
    "text": "text.jsonl",
    "prompt_completion": "prompt_completion.jsonl",
    "preference": "preference.json",
    "kto": "kto.jsonl",
}


def model_path() -> Path:
    """The directory of the demo model (Transformers format)."""
    return resources.DEMO_MODEL


def sample_path(dataset_format: str) -> Path:
    """The bundled sample of a dataset format (`auto`: the alpaca sample).

    Raises KeyError for a format that has no sample.
    """
    return resources.SAMPLES / SAMPLES[dataset_format]
