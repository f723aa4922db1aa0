"""Trainings on a base in 16 bits, as every GPU has them."""

from pathlib import Path
from typing import Any

import pytest

from tests.models import build_model
from tests.pairs import planned_pair
from tests.trainings import train_here

pytestmark = pytest.mark.engine
# PEFT keeps whole modules of these in float32, beside a base in 16 bits.
WHOLE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("ln_tuning", "sft", {}),
    ("lora", "sft", {"additional_target": "lm_head"}),
    ("lora", "sft", {"additional_target": "embed_tokens"}),
    ("lora", "grpo", {"additional_target": "lm_head"}),
)


@pytest.mark.parametrize(("method", "stage", "more"), WHOLE)
def test_modules_in_float32_beside_a_base_in_16_bits_are_trained_and_scored(
    method: str, stage: str, more: dict[str, Any], tmp_path: Path
) -> None:
    """On a GPU `--method ln_tuning` died while its base was scored: float != c10::BFloat16."""
    model = build_model(tmp_path / "bf16", dtype="bfloat16")
    plan = planned_pair(method, stage, model, tmp_path / "run", engine_args={"bf16": True, **more})
    found = train_here(tmp_path / "run", plan)
    assert found["before"]["n"] and found["after"]["n"]
