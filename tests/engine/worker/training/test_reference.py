"""A preference is compared with the model as it was before this training."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.trainings import planned, train_here

pytestmark = pytest.mark.engine

# Before the first step both models are one: log 2 for dpo, and 1 - sigmoid(0) for kto.
FIRST_LOSS = {"dpo": math.log(2), "kto": 0.5}


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has learnt something by sft."""
    folder = tmp_path_factory.mktemp("sft")
    more = {"max_steps": 6, "eval_strategy": "no"}
    train_here(folder, planned(folder, tiny_model, engine_args=more), scored=False)
    return folder / "run"


@pytest.mark.parametrize(
    ("stage", "method", "wishes"),
    [
        ("dpo", "lora", {}),
        ("dpo", "lora", {"adapter_name_or_path": ""}),
        ("dpo", "lora", {"adapter_name_or_path": "", "create_new_adapter": True}),
        ("dpo", "lora", {"adapter_name_or_path": "", "quantized": True}),
        ("dpo", "lora", {"gradient_accumulation_steps": 3}),
        ("dpo", "oft", {"oft_block_size": 8, "oft_rank": 0}),
        ("dpo", "full", {}),
        ("kto", "lora", {"adapter_name_or_path": ""}),
    ],
)
def test_the_first_loss_is_that_of_two_equal_models(
    stage: str,
    method: str,
    wishes: dict[str, Any],
    adapter: Path,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """A dpo that went on with an adapter was compared with the bare base: 0.0018."""
    quantized = {"quantization": "4bit"} if wishes.pop("quantized", False) else {}
    engine = {name: str(adapter) if value == "" else value for name, value in wishes.items()}
    engine |= {"max_steps": 1, "eval_strategy": "no"}
    plan = planned(tmp_path, tiny_model, stage, method, engine_args=engine, **quantized)
    train_here(tmp_path, plan)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["log_history"][0]["loss"] == pytest.approx(FIRST_LOSS[stage], abs=1e-4)
