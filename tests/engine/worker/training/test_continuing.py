"""A stream that was left in a later pass goes on with the rows that come next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from fine_tuning.engine.worker.training.continuing import continued_exactly

pytestmark = pytest.mark.engine
ROWS = 10


class Stream(torch.utils.data.IterableDataset[Any]):  # type: ignore[misc]  # torch is not checked
    """Numbers in another order in each pass."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for number in range(ROWS):
            yield {"x": torch.tensor([float((number * (2 * self.epoch + 1)) % ROWS)])}


class Model(torch.nn.Module):  # type: ignore[misc]  # torch is not checked
    """Notes which rows it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += x.flatten().int().tolist()
        return {"loss": self.layer(x).square().mean()}


class StopAt(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if state.global_step == self.step:
            control.should_training_stop = control.should_save = True


def trained(folder: Path, steps: int, accumulation: int, *, stop: int = 0, begin: int = 0) -> Any:
    model = Model()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulation,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    callbacks = [StopAt(stop)] if stop else []
    trainer = Trainer(model, arguments, train_dataset=Stream(), callbacks=callbacks)
    with continued_exactly():
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{begin}") if begin else None)
    assert trainer.state.global_step == (stop or steps)
    return model.seen


@pytest.mark.parametrize(("stop", "accumulation"), [(3, 1), (5, 1), (7, 1), (13, 1), (4, 2)])
def test_the_next_rows_follow(tmp_path: Path, stop: int, accumulation: int) -> None:
    """Five batches are a pass; by itself Transformers begins the next pass instead."""
    whole = trained(tmp_path / "whole", 15, accumulation)
    first = trained(tmp_path / "parts", 15, accumulation, stop=stop)
    rest = trained(tmp_path / "parts", 15, accumulation, begin=stop)
    assert first + rest == whole


def test_a_training_that_had_ended_is_only_finished(tmp_path: Path) -> None:
    trained(tmp_path, 4, 1, stop=4)
    assert trained(tmp_path, 4, 1, begin=4) == []
