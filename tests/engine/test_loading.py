"""How models are loaded, and what the worker is asked besides training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine.loading import MODEL_ARGUMENTS, after_training, before_training
from fine_tuning.engine.requests import (
    adapter_template,
    patches_the_process,
    shipped_template,
    token_request,
)
from fine_tuning.values.spec import RunSpec
from tests.dataset.canonical_files import chat, checked_data
from tests.looks import look_of


def test_the_worker_is_told_which_media_the_rows_hold(tmp_path: Path) -> None:
    data = checked_data(tmp_path, [chat("<image>What?", "A cat")])
    data = replace(data, columns=frozenset({"conversations", "images"}))
    assert token_request(RunSpec(), "m", data, tmp_path, show=())["media"] == ["images"]


# Of the engine's arguments of a model, those that are kept from the look at the tokens, from
# scoring by itself and from the export, and why.
NOT_LOADING = {
    "model_name_or_path": "given by itself",
    "adapter_name_or_path": "given by itself",
    "adapter_folder": "given by itself",
    "infer_backend": "ours",
    "infer_dtype": "set by the export",
    "hf_hub_token": "refused: a secret",
    "ms_hub_token": "refused: a secret",
    "om_hub_token": "refused: a secret",
    "rope_scaling": "refused: it cannot train",
    "shift_attn": "of the training pass only",
    "mixture_of_depths": "the tuned model needs another value than the training",
    "use_unsloth": "of the training pass only",
    "use_unsloth_gc": "of the training pass only",
    "enable_liger_kernel": "of the training pass only",
    "moe_aux_loss_coef": "of the training pass only",
    "disable_gradient_checkpointing": "of the training pass only",
    "use_reentrant_gc": "of the training pass only",
    "upcast_layernorm": "of the training pass only",
    "upcast_lmhead_output": "of the training pass only",
    "train_from_scratch": "of the training only: its result is loaded as it is",
    "low_cpu_mem_usage": "of memory only",
    "offload_folder": "of memory only",
    "use_kv_cache": "of generation only, which sets it",
    "print_param_status": "of the log only",
    "use_v1_kernels": "of the training pass only",
}


@pytest.mark.engine
def test_every_argument_that_changes_how_a_model_is_loaded_is_handed_on() -> None:
    """New special tokens were trained, and unknown to lengths, scores and export."""
    from dataclasses import fields

    from llamafactory.hparams.model_args import BaseModelArguments, ProcessorArguments

    classes = (BaseModelArguments, ProcessorArguments)
    known = {field.name for kind in classes for field in fields(kind)}
    assert known - set(MODEL_ARGUMENTS) - set(NOT_LOADING) == set()
    assert set(MODEL_ARGUMENTS) <= known
    assert not set(MODEL_ARGUMENTS) & set(NOT_LOADING)


@pytest.mark.engine
def test_rope_scaling_still_cannot_train() -> None:
    """Where it can, take back its refusal, and see that scores and export scale as training."""
    from llamafactory.hparams.model_args import ModelArguments
    from llamafactory.model.model_utils.rope import configure_rope
    from transformers import LlamaConfig

    arguments: Any = ModelArguments(model_name_or_path="x", rope_scaling="linear")
    arguments.model_max_length = 1536
    with pytest.raises(Exception, match="max_position_embeddings"):
        configure_rope(LlamaConfig(max_position_embeddings=512), arguments)


def made(**settings: object) -> dict[str, object]:
    return {"model_name_or_path": "/m", "finetuning_type": "lora", "stage": "sft", **settings}


@pytest.mark.parametrize("new", [True, False])
def test_the_score_before_is_that_of_base_and_given_adapters(tmp_path: Path, new: bool) -> None:
    """Under torchrun it was that of the bare base model; in one process it was not."""
    settings = made(adapter_name_or_path="/a,/b", create_new_adapter=new)
    before = before_training(settings).loading
    after = after_training(settings, tmp_path).loading
    assert (before["finetuning_type"], before["adapter_name_or_path"]) == ("lora", "/a,/b")
    trained_from = "/a,/b" if new else "/a"
    assert after["adapter_name_or_path"] == f"{trained_from},{tmp_path}"


def test_without_adapters_the_score_before_is_that_of_the_base_model(tmp_path: Path) -> None:
    for method in ("lora", "full"):
        before = before_training(made(finetuning_type=method)).loading
        assert before == {"model_name_or_path": "/m"}
    after = after_training(made(finetuning_type="full"), tmp_path).loading
    assert after == {"model_name_or_path": str(tmp_path), "finetuning_type": "full"}


@pytest.mark.parametrize(
    ("settings", "fresh"),
    [
        ({"lora_rank": 8}, False),
        ({"enable_liger_kernel": False}, False),
        ({"enable_liger_kernel": True}, True),
        ({"use_unsloth": True}, True),
    ],
)
def test_merge_and_proof_do_not_run_in_a_patched_process(
    settings: dict[str, object], fresh: bool
) -> None:
    assert patches_the_process(made(**settings)) is fresh


@pytest.mark.parametrize(
    ("template", "merged", "beside"),
    [
        ({"jinja": "written", "shipped": True, "own": "own"}, "written", "written"),
        ({"jinja": None, "shipped": None, "own": "own"}, None, "own"),
        ({"jinja": None, "shipped": False, "own": "own"}, None, "own"),
        ({"jinja": None, "shipped": False, "own": None}, None, None),
    ],
)
def test_the_trained_template_goes_out_else_the_model_s_own_stays(
    template: dict[str, object], merged: str | None, beside: str | None
) -> None:
    look = look_of(template=template)
    assert shipped_template(look.template) == merged
    assert adapter_template(look.template) == beside


def test_a_quantised_model_is_scored_as_it_was_trained(tmp_path: Path) -> None:
    """After several processes it was scored with other 4-bit numbers than it had trained on."""
    how = {
        "quantization_bit": 4,
        "quantization_method": "bnb",
        "quantization_type": "fp4",
        "double_quantization": False,
    }
    assert after_training(made(**how), tmp_path).quantization == how


def test_the_base_of_a_soft_prompt_is_loaded_as_any_other() -> None:
    """`eval` and `chat` of such a run ended with a KeyError."""
    made = {
        "model_name_or_path": "m",
        "template": "empty",
        "stage": "sft",
        "finetuning_type": "prompt_tuning",
        "peft": {"num_virtual_tokens": 4, "init_text": "Help."},
    }
    after = after_training(made, Path("run"))
    assert after.loading["peft"] == made["peft"]
    plain = {"model_name_or_path": "m", "template": "empty"}
    assert after.beneath.loading == before_training(made).loading == plain
