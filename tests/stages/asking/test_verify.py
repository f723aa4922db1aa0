"""What was trained again is compared with what the run kept."""

import json
from pathlib import Path

import pytest

from fine_tuning.disk.checkpoints import WEIGHTS, note_weights, noted_weights
from fine_tuning.stages.asking.verify import compared, verdict


def trained(folder: Path, losses: dict[int, float], weights: dict[int, str]) -> Path:
    folder.mkdir()
    history = [{"step": step, "loss": loss} for step, loss in losses.items()]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    lines = [{"step": step, "files": {"a.safetensors": it}} for step, it in weights.items()]
    (folder / WEIGHTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


LOSSES = {1: 3.0, 2: 2.0, 3: 1.5}


@pytest.mark.parametrize(
    ("losses", "weights", "same", "says"),
    [
        (LOSSES, {2: "x"}, True, "The same after 2 steps: 2 logged losses and the weights, bit"),
        (LOSSES, {}, True, "2 logged losses. The run kept no hash of its weights there."),
        (LOSSES, {2: "y"}, False, "is 0, the weights differ"),
        ({1: 3.0, 2: 2.25}, {2: "y"}, False, "of 2 logged losses is 0.25, the weights differ"),
        ({}, {}, False, "there is nothing to compare"),
    ],
)
def test_losses_and_weights_are_compared_up_to_the_last_step(
    tmp_path: Path, losses: dict[int, float], weights: dict[int, str], same: bool, says: str
) -> None:
    run = trained(tmp_path / "run", {**LOSSES, 3: 9.9}, {2: "x", 3: "z"})
    found = compared(run, trained(tmp_path / "again", losses, weights), 2)
    assert found.same is same
    assert says in verdict(found)


def test_the_hashes_of_weights_outlive_their_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-5"
    checkpoint.mkdir()
    names = {"adapter_model.safetensors": "a", "optimizer.pt": "b", "trainer_state.json": "c"}
    (checkpoint / "hashes.json").write_text(json.dumps({"algorithm": "sha256", "files": names}))
    note_weights(checkpoint)
    with (tmp_path / WEIGHTS).open("a") as file:
        file.write("damaged\n[]\n")
    assert noted_weights(tmp_path) == {5: {"adapter_model.safetensors": "a"}}
