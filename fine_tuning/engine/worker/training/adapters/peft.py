"""Adapters of PEFT that LLaMA-Factory does not know, put on the models that it loads.

LLaMA-Factory's `load_model` ends with `init_adapter` (llamafactory/model/loader.py). Inside
`installed` that is ours, so that loading, template, data, collator and trainer stay the engine's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llamafactory.extras.packages  # noqa: F401  mends a guard before llamafactory.model reads TRL
import torch
from llamafactory.model import adapter, loader
from llamafactory.model.model_utils.misc import find_all_linear_modules
from peft import (
    AdaLoraConfig,
    AdaLoraModel,
    IA3Config,
    LNTuningConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN_TO_IA3,
)
from safetensors.torch import load_file

from fine_tuning.engine.worker.loading.tokenizer import own_tokenizer
from fine_tuning.engine.worker.scoring.greedy import is_soft_prompt

CAUSAL = {"task_type": "CAUSAL_LM"}
OURS = ("peft", "online", "asked")  # settings that only this worker knows
ENCODER = "prompt_encoder.safetensors"
LEAST_STEPS = 2  # that AdaLoRA's configuration takes


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """An adapter that is to be put on a model."""

    method: str
    given: Mapping[str, Any]  # `peft` in train.yaml (engine/trainers/peft.py)
    base: str
    linear: Sequence[str] = ()  # names of the modules that `--lora_target` means
    modules: Sequence[str] | None = None  # trained whole beside it
    alpha: float = 16
    dropout: float = 0.0


def _prompt_tuning(fresh: Fresh, model: Any) -> Any:
    return PromptTuningConfig(
        **CAUSAL,
        num_virtual_tokens=fresh.given["num_virtual_tokens"],
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=fresh.given["init_text"],
        tokenizer_name_or_path=fresh.base,
    )


def _ia3(fresh: Fresh, model: Any) -> Any:
    """Keys, values and the inputs of the MLP's last layer (Liu et al., arXiv:2205.05638)."""
    kind = model.config.get_text_config().model_type
    if kind in KNOWN_TO_IA3:
        return IA3Config(**CAUSAL, modules_to_save=fresh.modules)
    targets = [name for name in ("k_proj", "v_proj", "down_proj") if name in fresh.linear]
    inputs = [name for name in targets if name == "down_proj"]
    return IA3Config(
        **CAUSAL,
        modules_to_save=fresh.modules,
        target_modules=targets or list(fresh.linear),
        feedforward_modules=inputs,
    )


def _ln_tuning(fresh: Fresh, model: Any) -> Any:
    """All norms, by the name of their class: PEFT knows those of few models."""
    norms = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if type(module).__name__.endswith("Norm") and list(module.parameters(recurse=False))
    }
    return LNTuningConfig(**CAUSAL, target_modules=sorted(norms))


def _adalora(fresh: Fresh, model: Any) -> Any:
    return AdaLoraConfig(
        **CAUSAL,
        init_r=fresh.given["init_rank"],
        target_r=fresh.given["rank"],
        lora_alpha=fresh.alpha,
        lora_dropout=fresh.dropout,
        target_modules=list(fresh.linear),
        modules_to_save=fresh.modules,
        total_step=LEAST_STEPS,  # until the training knows its own (RankBudget)
    )


CONFIGS: Mapping[str, Callable[[Fresh, Any], Any]] = {
    "prompt_tuning": _prompt_tuning,
    "prefix_tuning": lambda fresh, _: PrefixTuningConfig(
        **CAUSAL, num_virtual_tokens=fresh.given["num_virtual_tokens"]
    ),
    "p_tuning": lambda fresh, _: PromptEncoderConfig(
        **CAUSAL, num_virtual_tokens=fresh.given["num_virtual_tokens"]
    ),
    "ia3": _ia3,
    "vera": lambda fresh, _: VeraConfig(
        **CAUSAL, target_modules=list(fresh.linear), modules_to_save=fresh.modules
    ),
    "ln_tuning": _ln_tuning,
    "adalora": _adalora,
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
    base = str(settings["model_name_or_path"])

    def init_adapter(
        config: Any, model: Any, model_args: Any, finetuning_args: Any, is_trainable: bool
    ) -> Any:
        adapters = list(model_args.adapter_name_or_path or [])
        goes_on = adapters and not (is_trainable and finetuning_args.create_new_adapter)
        for below in adapters[:-1] if goes_on else adapters:
            model = PeftModel.from_pretrained(model, below).merge_and_unload()
        if goes_on:
            return taken_up(model, Path(adapters[-1]), is_trainable=is_trainable)
        if not is_trainable:
            return model
        fresh = Fresh(
            method=method,
            given=given,
            base=base,
            linear=linear_modules(model, finetuning_args),
            modules=whole_modules(model, model_args, finetuning_args),
            alpha=finetuning_args.lora_alpha,
            dropout=finetuning_args.lora_dropout,
        )
        return put(model, fresh)

    known = loader.init_adapter, adapter.LoraConfig, AdaLoraModel.forward
    if method == "lora":  # LLaMA-Factory's own, with what it does not pass on
        adapter.LoraConfig = partial(known[1], **given)
    else:
        loader.init_adapter = init_adapter
    AdaLoraModel.forward = _regularised_in_training(known[2])
    try:
        yield
    finally:
        loader.init_adapter, adapter.LoraConfig, AdaLoraModel.forward = known


def _regularised_in_training(forward: Any) -> Any:
    """AdaLoRA adds a term of its own to every loss (peft/tuners/adalora/model.py): without it the
    loss of held-out rows is theirs."""

    def of_rows(model: Any, *given: Any, **named: Any) -> Any:
        if model.training:
            return forward(model, *given, **named)
        return model.model.forward(*given, **named)

    return of_rows


def linear_modules(model: Any, finetuning_args: Any) -> list[str]:
    """What `--lora_target` means in this model."""
    target = list(finetuning_args.lora_target)
    if target == ["all"]:
        target = find_all_linear_modules(model, finetuning_args.freeze_vision_tower)
    return list(target)


def whole_modules(model: Any, model_args: Any, finetuning_args: Any) -> list[str] | None:
    """Modules that are trained whole: `--additional_target`, else the embeddings of new tokens, as
    LLaMA-Factory has it (model/adapter.py)."""
    if finetuning_args.additional_target or not model_args.resize_vocab:
        named: list[str] | None = finetuning_args.additional_target
        return named
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return sorted({n.rsplit(".", 1)[-1] for n, module in model.named_modules() if module in ends})


def put(model: Any, fresh: Fresh) -> Any:
    """The model with a fresh adapter; what is trained is float32, as LLaMA-Factory's adapters."""
    tuned = get_peft_model(model, CONFIGS[fresh.method](fresh, model))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    if fresh.method == "prefix_tuning":
        start_from_text(tuned, fresh.base, fresh.given["init_text"])
    return without_virtual(checkpointed(tuned))


def checkpointed(tuned: Any) -> Any:
    """The model, with gradient checkpointing in its layers also where virtual tokens alone are
    trained: LLaMA-Factory leaves out layers of which nothing is (model_utils/checkpointing.py)."""
    if tuned.active_peft_config.is_prompt_learning:
        for module in tuned.modules():
            known = getattr(module, "_gradient_checkpointing_func", None)
            if known is not None:
                module._gradient_checkpointing_func = getattr(known, "__wrapped__", known)
    return tuned


def taken_up(model: Any, folder: Path, *, is_trainable: bool) -> Any:
    """The model with an adapter that exists, to be trained further or not.

    PEFT loads no virtual tokens that are to be trained, and of AdaLoRA only the ranks that were
    kept: these begin anew, as what the files say. The encoder that computes a prompt lies beside.
    """
    config = PeftConfig.from_pretrained(folder)
    if not (is_trainable and (config.is_prompt_learning or isinstance(config, AdaLoraConfig))):
        tuned = PeftModel.from_pretrained(model, folder, is_trainable=is_trainable)
    else:
        tuned = get_peft_model(model, _begun_again(config))
        filled = filled_up(get_peft_model_state_dict(tuned), load_peft_weights(str(folder), "cpu"))
        set_peft_model_state_dict(tuned, filled)
        if (folder / ENCODER).exists():
            tuned.prompt_encoder[tuned.active_adapter].load_state_dict(load_file(folder / ENCODER))
    tuned.taken_up = True
    return without_virtual(checkpointed(tuned))


def _begun_again(config: Any) -> Any:
    config.inference_mode = False
    if isinstance(config, AdaLoraConfig):
        config.rank_pattern, config.total_step, config.tinit, config.tfinal = (
            None,
            LEAST_STEPS,
            0,
            0,
        )
    elif isinstance(config, PromptTuningConfig):
        config.prompt_tuning_init = "RANDOM"
    return config


def filled_up(fresh: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The saved tensors in the shapes of the fresh ones: ranks that were given up are there again,
    and do nothing yet, because AdaLoRA's E is zero there."""
    filled = {}
    for name, tensor in saved.items():
        whole = torch.zeros_like(fresh[name]) if "lora_E" in name else fresh[name].clone()
        whole[tuple(slice(size) for size in tensor.shape)] = tensor.to(whole)
        filled[name] = whole
    return filled


def without_virtual(tuned: Any) -> Any:
    """What the model says to a row is as long as the row: of the virtual tokens before it PEFT
    leaves the logits in, and LLaMA-Factory's preference losses take them for those of the row."""
    forward = tuned.forward

    def of_the_row(*given: Any, **named: Any) -> Any:
        found = forward(*given, **named)
        ids = named.get("input_ids", given[0] if given else None)
        if ids is not None and getattr(found, "logits", None) is not None:
            found.logits = found.logits[:, -ids.shape[1] :]
        return found

    if is_soft_prompt(tuned):
        tuned.forward = of_the_row
    return tuned


def as_before(model: Any) -> AbstractContextManager[Any]:
    """The model as it is before its training, which fresh virtual tokens are not: other fresh
    adapters do nothing."""
    fresh = is_soft_prompt(model) and not hasattr(model, "taken_up")
    switched_off: AbstractContextManager[Any] = model.disable_adapter() if fresh else nullcontext()
    return switched_off


def start_from_text(tuned: Any, base: str, text: str) -> None:
    """Let a prefix begin as the keys and values that the model itself computes for a text.

    A random one learns far worse (Li and Liang, arXiv:2101.00190, section 7.4). The text is
    repeated until it has as many tokens as the prefix.
    """
    embedding = tuned.prompt_encoder[tuned.active_adapter].embedding
    count = embedding.weight.shape[0]
    ids = own_tokenizer(base).encode(text, add_special_tokens=False)
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
