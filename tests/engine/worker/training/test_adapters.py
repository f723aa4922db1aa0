"""Methods of PEFT that LLaMA-Factory does not know, on its own loading, template and data."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.values.methods import METHODS
from tests.trainings import largest_difference, planned, train_here, weights_of

pytestmark = pytest.mark.engine

OURS = [name for name, method in METHODS.items() if method.trainer == "peft"]
SOFT = [name for name in OURS if METHODS[name].soft_prompt]


def logits_of(base: Path, adapter: Path | None = None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[:, -4:]


@pytest.mark.parametrize("method", OURS)
def test_what_is_trained_is_loaded_by_peft_and_changes_the_answers(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, tiny_model, method=method)
    result = train_here(tmp_path, plan)
    assert math.isfinite(result["metrics"]["train_loss"])
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert scores["before"]["metrics"]["loss"] != scores["after"]["metrics"]["loss"]
    assert largest_difference_of(tiny_model, tmp_path / "run") > 1e-6


def largest_difference_of(base: Path, adapter: Path) -> float:
    return float((logits_of(base) - logits_of(base, adapter)).abs().max())


@pytest.mark.parametrize("method", SOFT)
def test_before_the_training_the_bare_base_model_is_scored(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Virtual tokens change the answers from the start, unlike other fresh adapters."""
    before = []
    for name in ("lora", method):
        plan = planned(tmp_path / name, tiny_model, method=name)
        before.append(train_here(tmp_path / name, plan)["before"]["loss"])
    assert before[0] == pytest.approx(before[1], abs=1e-5)


def test_a_soft_prompt_goes_on_with_its_encoder(tiny_model: Path, tmp_path: Path) -> None:
    """PEFT saves the prompt alone: another encoder went on from a checkpoint of P-tuning."""
    from fine_tuning.engine.worker.training.train import train

    whole = planned(
        tmp_path, tiny_model, method="p_tuning", engine_args={"save_steps": 1, "max_steps": 3}
    )
    train_here(tmp_path, whole, scored=False)
    undisturbed = weights_of(tmp_path / "run")
    train(
        events=heard(),
        settings=whole.train.all,
        stop_path=str(tmp_path / "stop"),
        expected={"unit": "rows", "count": 12},
        resume_from=str(tmp_path / "run" / "checkpoint-2"),
    )
    assert largest_difference(undisturbed, weights_of(tmp_path / "run")) < 1e-6


def heard() -> Any:
    from tests.trainings import Heard

    return Heard().events


def test_a_prefix_begins_as_what_the_model_computes_for_the_text(tiny_model: Path) -> None:
    """A random one learns far worse."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from fine_tuning.engine.worker.training.adapters import put

    text = "What is the capital of France?"
    ids = AutoTokenizer.from_pretrained(tiny_model).encode(text)
    more = [11, 12, 13]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        together = model(input_ids=torch.tensor([ids + more])).logits[:, -len(more) :]
    given = {"num_virtual_tokens": len(ids), "init_text": text}
    tuned = put(model, "prefix_tuning", given, str(tiny_model)).eval()
    with torch.no_grad():
        after_prefix = tuned(input_ids=torch.tensor([more])).logits
    assert torch.allclose(together, after_prefix, atol=1e-4)
