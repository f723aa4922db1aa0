"""Adapters of PEFT that LLaMA-Factory does not know, put on the models that it loads.

LLaMA-Factory's `load_model` ends with `init_adapter` (llamafactory/model/loader.py). Inside
`installed` that is ours, so that loading, template, data, collator and trainer stay the engine's.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from llamafactory.model import loader
from peft import (
    IA3Config,
    LNTuningConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from fine_tuning.engine.worker.scoring.generate import is_soft_prompt

CAUSAL = {"task_type": "CAUSAL_LM"}
OURS = ("peft", "online", "asked")  # settings that only this worker knows
ENCODER = "prompt_encoder.safetensors"
Config = Callable[[str, Mapping[str, Any]], Any]


def _prompt_tuning(model: str, given: Mapping[str, Any]) -> Any:
    return PromptTuningConfig(
        **CAUSAL,
        num_virtual_tokens=given["num_virtual_tokens"],
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=given["init_text"],
        tokenizer_name_or_path=model,
    )


def _prefix_tuning(model: str, given: Mapping[str, Any]) -> Any:
    return PrefixTuningConfig(**CAUSAL, num_virtual_tokens=given["num_virtual_tokens"])


def _p_tuning(model: str, given: Mapping[str, Any]) -> Any:
    return PromptEncoderConfig(**CAUSAL, num_virtual_tokens=given["num_virtual_tokens"])


CONFIGS: Mapping[str, Config] = {
    "prompt_tuning": _prompt_tuning,
    "prefix_tuning": _prefix_tuning,
    "p_tuning": _p_tuning,
    "ia3": lambda model, given: IA3Config(**CAUSAL),
    "vera": lambda model, given: VeraConfig(**CAUSAL, target_modules="all-linear"),
    "ln_tuning": lambda model, given: LNTuningConfig(**CAUSAL),
}


def engine_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as LLaMA-Factory takes them: it knows no `peft` and nothing `online`, nor such
    finetuning types and stages."""
    known = {name: value for name, value in settings.items() if name not in OURS}
    if "peft" in settings:
        known["finetuning_type"] = "lora"
    if "online" in settings:
        known["stage"] = "sft"  # as which it loads such a model
    return known


@contextmanager
def installed(settings: Mapping[str, Any]) -> Iterator[None]:
    """Models that LLaMA-Factory loads inside get the adapter that these settings describe."""
    if "peft" not in settings:
        yield
        return
    method, given = str(settings["finetuning_type"]), settings["peft"]

    def init_adapter(
        config: Any, model: Any, model_args: Any, finetuning_args: Any, is_trainable: bool
    ) -> Any:
        if model_args.adapter_name_or_path:
            return PeftModel.from_pretrained(model, model_args.adapter_name_or_path[-1])
        if not is_trainable:
            return model
        return put(model, method, given, str(settings["model_name_or_path"]))

    known = loader.init_adapter
    loader.init_adapter = init_adapter
    try:
        yield
    finally:
        loader.init_adapter = known


def put(model: Any, method: str, given: Mapping[str, Any], base: str) -> Any:
    """The model with a fresh adapter; what is trained is float32, as LLaMA-Factory's adapters."""
    tuned = get_peft_model(model, CONFIGS[method](base, given))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    if method == "prefix_tuning":
        start_from_text(tuned, base, given["init_text"])
    return tuned


def start_from_text(tuned: Any, base: str, text: str) -> None:
    """Let a prefix begin as the keys and values that the model itself computes for a text.

    A random one learns far worse (Li and Liang, arXiv:2101.00190, section 7.4). The text is
    repeated until it has as many tokens as the prefix.
    """
    from transformers import AutoTokenizer

    embedding = tuned.prompt_encoder[tuned.active_adapter].embedding
    count = embedding.weight.shape[0]
    ids = AutoTokenizer.from_pretrained(base).encode(text, add_special_tokens=False)
    ids = (ids * (count // len(ids) + 1))[:count]
    model = tuned.get_base_model()
    training = model.training
    model.eval()
    with torch.no_grad():
        known = model(input_ids=torch.tensor([ids]).to(model.device), use_cache=True)
    model.train(training)
    pairs = [
        part[0].transpose(0, 1).reshape(count, -1)  # heads x tokens x width -> tokens x all
        for layer in known.past_key_values.layers
        for part in (layer.keys, layer.values)
    ]
    embedding.weight.data.copy_(torch.cat(pairs, dim=1))


class SavedEncoder(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """The encoder of a soft prompt lies in each checkpoint, and comes back from it.

    PEFT saves the prompt that it computes and nothing of what computes it
    (utils/save_and_load.py): a continued training would begin with another encoder.
    """

    def __init__(self, resume_from: str | None) -> None:
        self.resume_from = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        model = known["model"]
        if self.resume_from and is_soft_prompt(model):
            encoder = model.prompt_encoder[model.active_adapter]
            encoder.load_state_dict(load_file(Path(self.resume_from) / ENCODER))

    def on_save(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        model = known["model"]
        if state.is_world_process_zero and is_soft_prompt(model):
            encoder = model.prompt_encoder[model.active_adapter].state_dict()
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            save_file({name: it.contiguous() for name, it in encoder.items()}, folder / ENCODER)
