"""An export that merged nothing, or something else, is refused; one not compared says so."""

import json
import shutil
from pathlib import Path

import pytest

from fine_tuning.errors import EngineError

pytestmark = pytest.mark.engine

SEQUENCES = [[5, 6, 7, 8, 9, 10], [11, 12, 13, 14]]


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes the model a little, as a short training does."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    path = tmp_path_factory.mktemp("adapter")
    tuned.save_pretrained(path)
    return path


def prove(base: Path, adapter: Path, merged: Path) -> dict[str, object]:
    from fine_tuning.engine.worker.merge import _prove

    source = {"trust_remote_code": False}
    return _prove(str(base), source, str(adapter), merged, {}, SEQUENCES)


def test_a_real_merge_is_accepted(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(tmp_path)
    proof = prove(tiny_model, adapter, tmp_path)
    assert proof["proved"] is True
    assert proof["agreement"] == 1.0
    assert proof["mean_logit_difference"] < 1e-5 < proof["moved_by_training"]  # type: ignore[operator]


def test_a_merge_into_a_grown_vocabulary_is_accepted(tiny_model: Path, tmp_path: Path) -> None:
    """--add_tokens failed after training and merging: the base was compared as it was before."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    rows = model.get_input_embeddings().weight.shape[0] + 64
    model.resize_token_embeddings(rows)
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    tuned = get_peft_model(model, config)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    tuned.save_pretrained(tmp_path / "adapter")
    tuned.merge_and_unload().save_pretrained(tmp_path / "merged")
    proof = prove(tiny_model, tmp_path / "adapter", tmp_path / "merged")
    assert proof["proved"] is True
    assert proof["mean_logit_difference"] < 1e-5  # type: ignore[operator]


def test_the_base_model_under_another_name_is_refused(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    """A short training rarely changes the most likely token, so agreement alone proves nothing."""
    shutil.copytree(tiny_model, tmp_path / "copy")
    with pytest.raises(EngineError, match="does not answer like base"):
        prove(tiny_model, adapter, tmp_path / "copy")


def test_a_model_of_an_unknown_class_is_not_proved_and_says_why(
    adapter: Path, tmp_path: Path
) -> None:
    """It was reported like a proved one."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}), encoding="utf-8")
    proof = prove(tmp_path, adapter, tmp_path)
    assert proof["proved"] is False
    reason = str(proof["reason"])
    assert "cannot be loaded by itself" in reason
    assert len(reason) < 300 and not reason.endswith(".")
