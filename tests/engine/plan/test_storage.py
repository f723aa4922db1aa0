"""What checkpoints take of the disk is known before the training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.engine.plan.storage import require_room
from fine_tuning.errors import EnvironmentProblem
from fine_tuning.values.plan import Stored
from tests.models import build_model
from tests.trainings import planned, train_here

GB = 10**9
SETTINGS = {"save_strategy": "steps", "save_steps": 10, "save_total_limit": 2}


def chosen(steps: int = 100) -> Any:
    """A full training of 8 billion parameters."""
    return SimpleNamespace(stored=Stored(32.0 * GB, 64.0 * GB), steps=steps, per_epoch=50)


@pytest.fixture
def has_free(monkeypatch: pytest.MonkeyPatch) -> Any:
    def free(gigabytes: int) -> None:
        usage = SimpleNamespace(free=gigabytes * GB)
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)

    return free


def test_a_training_whose_first_checkpoint_has_no_room_is_refused(
    tmp_path: Path, has_free: Any
) -> None:
    """It ended at its first checkpoint, hours later: the disk was full."""
    has_free(100)
    with pytest.raises(EnvironmentProblem, match=r"96\.0 GB .* 32\.0 GB, .* 100\.0 GB free"):
        require_room(chosen(), SETTINGS, tmp_path)
    has_free(320)
    assert require_room(chosen(), SETTINGS, tmp_path) == ""
    has_free(319)
    assert "take up to 320.0 GB" in require_room(chosen(), SETTINGS, tmp_path)


def test_what_is_saved_decides(tmp_path: Path, has_free: Any) -> None:
    has_free(40)
    assert require_room(chosen(), {**SETTINGS, "save_strategy": "no"}, tmp_path) == ""
    has_free(130)
    assert require_room(chosen(10), SETTINGS, tmp_path) == "", "it saves once"
    with_more = {"save_strategy": "epoch", "save_total_limit": None}
    assert "224.0 GB" in require_room(chosen(), with_more, tmp_path), "two epochs"


def test_checkpoints_that_are_there_make_room_for_others(tmp_path: Path, has_free: Any) -> None:
    has_free(0)
    there = tmp_path / "checkpoint-10" / "global_step"
    there.mkdir(parents=True)
    (there / "model.safetensors").write_bytes(b"0" * 1000)
    small: Any = SimpleNamespace(stored=Stored(200, 300), steps=10, per_epoch=5)
    assert require_room(small, SETTINGS, tmp_path) == ""
    small.stored = Stored(500, 600)
    with pytest.raises(EnvironmentProblem, match=r"1\.0 kB free"):
        require_room(small, SETTINGS, tmp_path)


@pytest.mark.engine
@pytest.mark.parametrize("method", ["lora", "freeze"])
def test_the_size_of_a_checkpoint_is_known_before_it_is_written(
    method: str, tmp_path: Path
) -> None:
    more = {"freeze_trainable_layers": 1} if method == "freeze" else {}
    base = build_model(tmp_path / "base")
    plan = planned(tmp_path, base, method=method, lora_rank=64, engine_args=more)
    train_here(tmp_path, plan, scored=False)
    (checkpoint,) = tmp_path.glob("run/checkpoint-2")
    expected = plan.plan.chosen.stored
    assert expected is not None
    weights = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    optimizer = (checkpoint / "optimizer.pt").stat().st_size
    assert weights == pytest.approx(expected.weights, rel=0.05)
    assert optimizer == pytest.approx(expected.optimizer, rel=0.05)
