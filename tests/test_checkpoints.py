"""Checkpoints: only whole ones are continued from."""

from pathlib import Path

import pytest

from fine_tuning.checkpoints import checkpoints, has_optimizer, set_aside_incomplete

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
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-10"]
    set_aside_incomplete(tmp_path)
    left = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert left == ["checkpoint-10", "checkpoint-5"]
    assert len(list(tmp_path.glob("incomplete-checkpoint-*"))) == 2


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
