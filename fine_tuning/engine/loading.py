"""How LLaMA-Factory loads a model, in its words: as it was before a training, and tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS

MODEL_ARGUMENTS = (
    "trust_remote_code",
    "use_fast_tokenizer",
    "cache_dir",
    "model_revision",
    "split_special_tokens",
    "add_tokens",
    "add_special_tokens",
    "new_special_tokens_config",
    "init_special_tokens",
    "resize_vocab",
    "flash_attn",
    # how media become tokens
    "image_max_pixels",
    "image_min_pixels",
    "image_do_pan_and_scan",
    "crop_to_patches",
    "video_max_pixels",
    "video_min_pixels",
    "video_fps",
    "video_maxlen",
    "use_audio_in_video",
    "audio_sampling_rate",
)
TEXT_ARGUMENTS = ("default_system", "tool_format")
# Beside export_device all of LLaMA-Factory's export settings that are passed on: it would upload or
# quantise before the model is whole.
EXPORT_WRITING: Mapping[str, Any] = {"export_size": 5, "export_legacy_format": False}
OF_LOADING = (
    "model_name_or_path",
    "template",
    "enable_thinking",
    *MODEL_ARGUMENTS,
    *TEXT_ARGUMENTS,
)
QUANTIZATION = (
    "quantization_bit",
    "quantization_method",
    "quantization_type",
    "double_quantization",
)
QUANTIZATION_BITS = {"4bit": 4, "8bit": 8}
# Of how a tuned model is loaded, what a whole model in its own precision has not.
OF_TUNING = frozenset({"adapter_name_or_path", "finetuning_type", "peft", *QUANTIZATION})


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A model to load: a base with adapters one upon the other, or a whole model.

    `settings` are LLaMA-Factory's for loading; `adapters` are merged in their order, the last is
    the one that was trained; `whole` is the directory of a model that was trained without an
    adapter.
    """

    settings: Mapping[str, Any]
    adapters: tuple[str, ...] = ()
    whole: str = ""
    finetuning_type: str = "lora"
    stage: str = "sft"  # LLaMA-Factory's: only of a reward model is the value head copied
    quantization: Mapping[str, Any] = field(default_factory=dict)
    peft: Mapping[str, Any] | None = None  # of an adapter that LLaMA-Factory does not know

    @property
    def base(self) -> str:
        """The directory of the base model, or its name on a hub."""
        return str(self.settings["model_name_or_path"])

    @property
    def loading(self) -> dict[str, Any]:
        """LLaMA-Factory's settings to load it in full precision."""
        found = dict(self.settings)
        if self.whole:
            return {
                **found,
                "finetuning_type": self.finetuning_type,
                "model_name_or_path": self.whole,
            }
        if self.adapters:
            # LLaMA-Factory loads every adapter of PEFT that can be merged as one
            kind = self.finetuning_type if self.peft is not None else "lora"
            found |= {"finetuning_type": kind, "adapter_name_or_path": ",".join(self.adapters)}
        if self.peft is None or not self.adapters:  # the base is loaded as any other
            return found
        return {**found, "peft": self.peft}

    @property
    def beneath(self) -> "TunedModel":
        """The same without its last adapter: what that was trained on."""
        return replace(self, adapters=self.adapters[:-1])


def before_training(made: Mapping[str, Any]) -> TunedModel:
    """The model that a training with these settings starts from, with the adapters named there."""
    return _model(made, adapters=tuple(given_adapters(made)) if _makes_adapter(made) else ())


def after_training(made: Mapping[str, Any], run_dir: Path) -> TunedModel:
    """The model that a training with these settings leaves in the run's folder."""
    if _makes_adapter(made):
        return _model(made, adapters=(*merged_before(made), str(run_dir)))
    return _model(made, whole=str(run_dir))


def _model(
    made: Mapping[str, Any], *, adapters: tuple[str, ...] = (), whole: str = ""
) -> TunedModel:
    return TunedModel(
        settings={name: made[name] for name in OF_LOADING if name in made},
        adapters=adapters,
        whole=whole,
        finetuning_type=made["finetuning_type"],
        stage="sft" if "online" in made else made["stage"],
        quantization={name: made[name] for name in QUANTIZATION if name in made},
        peft=made.get("peft") if METHODS[made["finetuning_type"]].soft_prompt else None,
    )


def _makes_adapter(made: Mapping[str, Any]) -> bool:
    return METHODS[made["finetuning_type"]].makes_adapter


def given_adapters(made: Mapping[str, Any]) -> list[str]:
    """Adapters that the user named with --adapter_name_or_path."""
    named = made.get("adapter_name_or_path") or []
    return named.split(",") if isinstance(named, str) else list(named)


def merged_before(made: Mapping[str, Any]) -> list[str]:
    """Adapters that LLaMA-Factory merged into the base before it trained this one.

    All that the user named, but for the last if it is trained further (model/adapter.py).
    """
    adapters = given_adapters(made)
    return adapters if made.get("create_new_adapter") else adapters[:-1]


def export_settings(model: TunedModel, spec: RunSpec) -> dict[str, Any]:
    """LLaMA-Factory's export settings; quantisation must not reach it (it cannot merge then)."""
    device = {n: spec.engine_args[n] for n in ("export_device",) if n in spec.engine_args}
    return {**model.loading, **device, **export_writing(spec), "stage": model.stage}


def export_writing(spec: RunSpec) -> dict[str, Any]:
    """How the merged model is written to files."""
    return {name: spec.engine_args.get(name, usual) for name, usual in EXPORT_WRITING.items()}


def given_model(spec: RunSpec, location: str) -> TunedModel:
    """A model that somebody else trained; the template `empty` changes neither the tokenizer's end
    of text nor its chat template."""
    passed = {name: spec.engine_args[name] for name in MODEL_ARGUMENTS if name in spec.engine_args}
    return TunedModel(settings={"model_name_or_path": location, "template": "empty", **passed})


def named_model(spec: RunSpec, location: str) -> dict[str, Any]:
    """How a model that somebody else trained is asked: in the precision that the user names, and by
    the template, unless its own is meant."""
    made = given_model(spec, location).loading
    if spec.template != "auto":
        thinking = spec.engine("enable_thinking")
        made["template"] = spec.template
        made |= {} if thinking is None else {"enable_thinking": thinking}
    if spec.quantization in QUANTIZATION_BITS:
        made["quantization_bit"] = QUANTIZATION_BITS[spec.quantization]
    return made


def given_adapters_upon(spec: RunSpec, base: str, adapters: Sequence[Path]) -> TunedModel:
    """A base and adapters that somebody else trained."""
    return replace(given_model(spec, base), adapters=tuple(map(str, adapters)))
