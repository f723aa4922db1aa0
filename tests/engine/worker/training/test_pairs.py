"""Every method trains in every stage that the matrix names; every other pair is refused."""

import math
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.errors import UsageError
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tables.pairs import matrix, pair_mismatch
from tests.commands import ROOT
from tests.models import build_model
from tests.trainings import planned, train_here

SMALL: dict[str, dict[str, Any]] = {
    "oft": {"oft_block_size": 8, "oft_rank": 0},
    "freeze": {"freeze_trainable_layers": 1},
}
# Answers of a model with random weights differ in their first characters, and so do these rewards.
REWARD = "def score(answer, expected):\n    return sum(map(ord, answer.strip()[:20])) % 10\n"
PAIRS = [(method, stage) for method in METHODS for stage in OBJECTIVES]
FITTING = [pair for pair in PAIRS if pair_mismatch(*pair) is None]
# In every suite; the others are slow together. Virtual tokens made logits longer than the rows.
FIRST = [("prompt_tuning", "dpo"), ("vera", "kto")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with biases, and a head apart from its embeddings."""
    return build_model(tmp_path_factory.mktemp("models") / "m", biases=True, tied=False)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("method", "stage"),
    [it if it in FIRST else pytest.param(*it, marks=pytest.mark.slow) for it in FITTING],
)
def test_a_pair_trains(method: str, stage: str, model: Path, tmp_path: Path) -> None:
    engine = {"max_steps": 3, "warmup_steps": 0, **SMALL.get(method, {})}
    wishes: dict[str, Any] = {}
    if OBJECTIVES[stage].online:
        (tmp_path / "my.py").write_text(REWARD, encoding="utf-8")
        wishes = {"reward": (f"{tmp_path / 'my.py'}:score",), "batch_size": 8}
        engine |= {"num_generations": 4, "max_completion_length": 8}
        engine["gradient_accumulation_steps"] = 1
    plan = planned(tmp_path, model, stage, method=method, engine_args=engine, **wishes)
    result = train_here(tmp_path, plan)
    assert math.isfinite(result["metrics"]["train_loss"])


@pytest.mark.parametrize(("method", "stage"), [it for it in PAIRS if it not in FITTING])
def test_another_pair_is_refused_in_one_sentence(method: str, stage: str) -> None:
    with pytest.raises(UsageError, match=r"[Tt]ake --method lora") as raised:
        rewarded = ["--reward", "length:20"] if OBJECTIVES[stage].online else []
        resolve(COMMANDS["run"], ["--method", method, "--stage", stage, *rewarded])
    (sentence,) = raised.value.mistakes
    assert sentence == pair_mismatch(method, stage)


def test_the_matrix_of_the_documents_is_that_of_the_tests() -> None:
    assert matrix() in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
