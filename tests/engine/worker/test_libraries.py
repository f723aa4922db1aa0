"""What a worker imports, and what it does not."""

import gc
import sys
from pathlib import Path

import pytest


def test_a_model_of_neither_is_adapted_and_saved_without_deepspeed_and_bitsandbytes(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run imported both: only to learn that its model was none of theirs."""
    from fine_tuning.engine.worker.libraries import stages

    assert "merge" in stages() and gc.isenabled() and gc.get_freeze_count()
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    heavy = ("deepspeed", "bitsandbytes")
    for name in [known for known in sys.modules if known.split(".")[0] in heavy]:
        monkeypatch.delitem(sys.modules, name)  # other tests have imported them
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.save_pretrained(tmp_path / "m")
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "a")
    assert not set(heavy) & set(sys.modules)
