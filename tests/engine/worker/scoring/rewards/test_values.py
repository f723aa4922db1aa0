"""Rewards of held-out answers are those that the engine trains by."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.values.answers.scores import Scores
from fine_tuning.values.codec import from_json
from tests.trainings import planned, train_here

pytestmark = pytest.mark.engine


def scored(folder: Path, model: Path, stage: str) -> tuple[Scores, dict[str, float]]:
    """What our scoring finds before and after, and what the engine's last evaluation logged."""
    train_here(folder, planned(folder, model, stage))
    known: Any = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    state = json.loads((folder / "run" / "trainer_state.json").read_text(encoding="utf-8"))
    logged = [entry for entry in state["log_history"] if "eval_loss" in entry]
    return from_json(known, Scores), logged[-1]


@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "simpo"])
def test_accuracy_and_margin_are_those_of_the_engine_s_own_evaluation(
    stage: str, tiny_model: Path, tmp_path: Path
) -> None:
    """A run that trained preferences said nothing of them."""
    scores, logged = scored(tmp_path, tiny_model, stage)
    before, after = scores.before.metrics, scores.after.metrics
    assert after["reward_margin"] == pytest.approx(logged["eval_rewards/margins"], abs=1e-5)
    if stage != "kto":
        assert after["reward_accuracy"] == logged["eval_rewards/accuracies"]
    rewards = scores.after.rewards
    assert rewards is not None and rewards.paired == (stage != "kto")
    is_against_itself = stage in ("dpo", "kto")
    assert (before["reward_margin"] == 0) == is_against_itself
    assert not is_against_itself or before["reward_accuracy"] == 0.5
    assert len(scores.after.samples) == after["n"] == (2 if stage == "kto" else 4)


def test_a_value_head_s_rewards_are_those_of_its_loss(tiny_model: Path, tmp_path: Path) -> None:
    scores, logged = scored(tmp_path, tiny_model, "rm")
    rewards = scores.after.rewards
    assert rewards is not None and rewards.known is not None
    losses = [math.log1p(math.exp(b - a)) for a, b in zip(*rewards.known, strict=True)]
    assert sum(losses) / len(losses) == pytest.approx(logged["eval_loss"], abs=1e-5)
    assert scores.after.metrics["reward_accuracy"] == logged["eval_accuracy"]
    assert scores.before.metrics["reward_margin"] != scores.after.metrics["reward_margin"]
