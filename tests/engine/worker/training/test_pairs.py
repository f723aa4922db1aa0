"""Every method trains in every stage that the matrix names; every other pair is refused."""

from pathlib import Path

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.errors import UsageError
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tables.pairs import pair_mismatch
from tests.pairs import FITTING, PAGE, PAIRS, base_model, matrix, train_pair

# In every suite; the others are slow together. Virtual tokens made logits longer than the rows.
FIRST = [("prompt_tuning", "dpo"), ("ia3", "kto")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models") / "m")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("method", "stage"),
    [it if it in FIRST else pytest.param(*it, marks=pytest.mark.slow) for it in FITTING],
)
def test_a_pair_trains(method: str, stage: str, model: Path, tmp_path: Path) -> None:
    train_pair(method, stage, model, tmp_path)


@pytest.fixture(scope="module")
def in_16_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models") / "bf16", "bfloat16")


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize(("method", "stage"), FITTING)
def test_a_pair_trains_in_16_bits_as_a_gpu_does(
    method: str, stage: str, in_16_bits: Path, tmp_path: Path
) -> None:
    train_pair(method, stage, in_16_bits, tmp_path, engine_args={"bf16": True})


@pytest.mark.parametrize(("method", "stage"), [it for it in PAIRS if it not in FITTING])
def test_another_pair_is_refused_in_one_sentence(method: str, stage: str) -> None:
    with pytest.raises(UsageError, match=r"[Tt]ake --method lora") as raised:
        rewarded = ["--reward", "length:20"] if OBJECTIVES[stage].online else []
        resolve(COMMANDS["run"], ["--method", method, "--stage", stage, *rewarded])
    (sentence,) = raised.value.mistakes
    assert sentence == pair_mismatch(method, stage)


def test_the_matrix_of_the_documents_is_what_trained_with_these_versions() -> None:
    """`python -m tests.pairs` trains all pairs and writes it; after an upgrade it is due again."""
    assert matrix(FITTING) in PAGE.read_text(encoding="utf-8")
