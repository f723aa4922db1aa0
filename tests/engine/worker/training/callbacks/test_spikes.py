"""The rows behind a loss that shoots up are known by their numbers."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer

from fine_tuning.disk.files import read_json
from fine_tuning.engine.worker.training.callbacks.spikes import FEWEST, Spikes, is_spike


def test_a_spike_stands_out_of_the_noise_of_the_steps_before() -> None:
    noisy = random.Random(1)
    before = [1.0 + noisy.gauss(0, 0.1) for _ in range(40)]
    assert is_spike(2.5, before) and is_spike(float("inf"), before)
    assert not is_spike(1.3, before), "three deviations are noise"
    assert not is_spike(2.5, before[: FEWEST - 1]), "too few steps to tell"
    assert not is_spike(1.2, [1.0] * 40), "a ripple of a constant loss"


def step(spikes: Spikes, number: int, loss: float, ids: list[list[int]], rows: Dataset) -> None:
    """One step of a trainer whose loss is as given."""
    trainer = SimpleNamespace(train_dataset=rows, loss=torch.tensor(loss))
    width = max(map(len, ids))
    inputs = {
        "input_ids": torch.tensor([it + [0] * (width - len(it)) for it in ids]),
        "attention_mask": torch.tensor([[1] * len(it) + [0] * (width - len(it)) for it in ids]),
    }
    Trainer.training_step(trainer, None, inputs)
    spikes.on_step_end(None, SimpleNamespace(global_step=number), None)


def test_the_rows_of_the_step_are_kept_and_stay_when_the_training_goes_on(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Trainer, "training_step", lambda trainer, *_: trainer.loss)
    rows = Dataset.from_dict({"input_ids": [[1, 2], [3, 4, 5], [6], [7, 8]]})
    spikes = Spikes(tmp_path / "row_losses.json")
    spikes.on_train_begin(None, SimpleNamespace(global_step=0), None)
    with spikes.watching():
        for number in range(1, 13):
            step(spikes, number, 1.0 + number % 2 / 50, [[1, 2], [6]], rows)
        step(spikes, 13, 9.0, [[3, 4, 5], [7, 8]], rows)
        step(spikes, 14, 1.0, [[1, 2]], rows)
    kept = read_json(spikes.out, "")["spikes"]
    assert [(it["step"], it["loss"], it["sequences"]) for it in kept] == [(13, 9.0, [1, 3])]
    assert 1 <= kept[0]["usual"] <= 1.02
    again = Spikes(tmp_path / "row_losses.json")
    again.on_train_begin(None, SimpleNamespace(global_step=20), None)
    assert again.found == kept
    again.on_train_begin(None, SimpleNamespace(global_step=12), None)
    assert again.found == [], "that step is trained again"
