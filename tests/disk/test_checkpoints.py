"""Checkpoints: only whole ones are continued from."""

import json
import re
from pathlib import Path

import pytest

from fine_tuning.disk.checkpoints import checkpoints, chosen, has_optimizer, set_aside_incomplete
from fine_tuning.errors import UsageError

PARTS = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt")


@pytest.mark.parametrize("lost", ["trainer_state.json", *PARTS[1:]])
def test_an_incomplete_checkpoint_is_not_resumed_from(tmp_path: Path, lost: str) -> None:
    for step, state in ((5, "{}"), (10, "{}"), (15, '{"cut'), (20, "{}")):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
        for name in PARTS:
            (checkpoint / name).touch()
    (tmp_path / "checkpoint-20" / lost).unlink()
    (tmp_path / "checkpoint-25").symlink_to("checkpoint-25")  # leads nowhere
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-10"]
    set_aside_incomplete(tmp_path)
    left = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert left == ["checkpoint-10", "checkpoint-5"]
    aside = [path.name.split("-")[2] for path in tmp_path.glob("incomplete-checkpoint-*")]
    assert sorted(aside) == ["15", "20", "25"]


def test_a_checkpoint_without_optimizer_is_whole_only_if_it_was_to_have_none(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "checkpoint-5"
    checkpoint.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "trainer_state.json"):
        (checkpoint / name).write_text("{}", encoding="utf-8")
    assert checkpoints(tmp_path) == []
    assert checkpoints(tmp_path, without_optimizer=True) == [checkpoint]
    assert not has_optimizer(checkpoint)


def evaluated(run: Path, losses: dict[int, float], best: str = "") -> Path:
    """A run with these checkpoints, the loss on the held-out rows at each."""
    for step in losses:
        folder = run / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
    history = [{"step": step, "eval_loss": loss} for step, loss in losses.items()]
    state = {"log_history": history, "best_model_checkpoint": best or None}
    (run / "trainer_state.json").write_text(json.dumps(state))
    return run


def test_a_checkpoint_is_chosen_by_its_step_or_its_loss(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", {5: 2.0, 40: 1.0, 100: 1.5})
    for wanted, step in (("40", 40), ("checkpoint-5", 5), ("best", 40)):
        assert chosen(run, wanted) == run / f"checkpoint-{step}"
    named = evaluated(tmp_path / "named", {5: 2.0, 40: 1.0}, best="/elsewhere/run/checkpoint-5")
    assert chosen(named, "best").name == "checkpoint-5"


@pytest.mark.parametrize(
    ("wanted", "message", "fix"),
    [
        ("7", "holds no such checkpoint", r"that is kept \(5, 40\)"),
        ("best", "no checkpoint that is kept was evaluated", "give its step: 5, 40"),
        ("40", "holds no weights that can be merged", "leave --checkpoint out"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(
    wanted: str, message: str, fix: str, tmp_path: Path
) -> None:
    run = evaluated(tmp_path, {5: 2.0, 40: 1.0})
    (run / "trainer_state.json").write_text("{}")
    (run / "checkpoint-40" / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match=message) as caught:
        chosen(run, wanted)
    assert re.search(fix, caught.value.fix)
