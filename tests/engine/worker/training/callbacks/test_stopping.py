"""A stopped training saves, and evaluates no further; its steps are told once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from fine_tuning.disk.checkpoints import progress
from fine_tuning.engine.worker.training.balance import Expected
from fine_tuning.engine.worker.training.callbacks.stopping import Stopped, Stopping
from fine_tuning.engine.worker.training.continuing import continued_exactly
from fine_tuning.engine.worker.training.train import Watch
from tests.trainings import Heard

pytestmark = pytest.mark.engine


class Model(torch.nn.Module):  # type: ignore[misc]  # torch is not checked
    """Draws random numbers in training, as dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.drawn: list[float] = []

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.drawn.append(float(torch.rand(1)))
        return {"loss": self.layer(x).square().mean()}


class AskAt(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Somebody who presses Ctrl-C at a step, or at a batch of an evaluation."""

    def __init__(self, stop: Path, step: int, batch: int) -> None:
        self.stop, self.step, self.batch = stop, step, batch
        self.batches = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.batches = 0
        if state.global_step == self.step and not self.batch:
            self.stop.touch()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.batches += 1
        if state.global_step == self.step and self.batches == self.batch:
            self.stop.touch()


def trained(folder: Path, *, ask: AskAt | None = None, begin: int = 0) -> tuple[Model, Heard]:
    torch.manual_seed(3)
    model, heard, rows = Model(), Heard(), [{"x": torch.tensor([float(i)])} for i in range(16)]
    stopping = Stopping(heard.events, folder / "stop")
    watch = Watch(heard.events, stopping, Expected(unit="blocks", count=16))
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=6,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        label_names=["x"],
    )
    callbacks = [*([ask] if ask else []), watch, stopping]
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=callbacks)
    with continued_exactly(), stopping.watching():
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{begin}") if begin else None)
    return model, heard


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Heard]]:
    yield trained(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("step", "batch"), [(3, 0), (4, 0), (4, 3)])
def test_a_stopped_training_saves_at_once_and_goes_on_the_same(
    tmp_path: Path, whole: tuple[Model, Heard], step: int, batch: int
) -> None:
    """Ctrl-C waited for the whole evaluation, minutes on a CPU, before it saved."""
    ask = AskAt(tmp_path / "stop", step, batch)
    with pytest.raises(Stopped):
        trained(tmp_path, ask=ask)
    assert ask.batches == (0 if step == 3 else max(1, batch)), "it was evaluated to the end"
    assert progress(tmp_path / f"checkpoint-{step}") == (step, 6)
    ask.stop.unlink()
    rest, _ = trained(tmp_path, begin=step)
    assert rest.drawn == whole[0].drawn[step:]


def test_a_step_is_told_once_with_its_own_losses(whole: tuple[Model, Heard]) -> None:
    """`5/42 loss 3.1` and `5/42 loss 2.7`: one step had two losses, and two lines."""
    told = [event for event in whole[1].of("progress") if event["facts"]]
    assert [event["done"] for event in told] == [1, 2, 3, 4, 5, 6]
    assert ["eval_loss" in event["facts"] for event in told] == [False, True] * 3
