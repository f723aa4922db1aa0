"""Steps whose loss is far above that of the steps before, and the rows that they trained on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from transformers import Trainer, TrainerCallback

from fine_tuning.disk.files import read_json, write_text
from fine_tuning.engine.worker.training.callbacks.finite import rows_of

NAME = "spikes.json"
WINDOW = 50  # steps that a step is compared with
FEWEST = 10  # of them that must have been
FAR = 6.0  # robust standard deviations above the median (median absolute deviation * 1.4826)
MUCH = 1.5  # times the median: ripples of a loss that is nearly constant are no spikes
ANEW = "delete it; which rows stood behind a spike is then not known"


@dataclass(frozen=True)
class Spike:
    """A step, its loss, the usual one of the steps before, and the sequences that it trained on."""

    step: int
    loss: float
    usual: float
    sequences: tuple[int, ...]


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Whether a loss is far above those of the steps before it."""
    if len(before) < FEWEST:
        return False
    usual = median(before)
    spread = 1.4826 * median(abs(it - usual) for it in before)
    return loss > usual + FAR * spread and loss > MUCH * usual


class Spikes(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Keeps each spike in a file beside the losses of rows; one that goes on keeps its own."""

    def __init__(self, losses: Path) -> None:
        self.out = losses.with_name(NAME)
        self.found: list[dict[str, Any]] = []
        self.before: list[float] = []
        self.losses: list[float] = []  # of the batches of this step
        self.inputs: list[Any] = []
        self.dataset: Any = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See each batch with its loss; a callback sees neither."""
        step = Trainer.training_step

        def watched(trainer: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            loss = step(trainer, model, inputs, *more, **named)
            self.dataset = trainer.train_dataset
            self.inputs.append(inputs)
            self.losses.append(float(loss.detach().mean()))
            return loss

        Trainer.training_step = watched
        try:
            yield
        finally:
            Trainer.training_step = step

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        kept = read_json(self.out, ANEW).get("spikes", []) if state.global_step else []
        self.found = [it for it in kept if it["step"] <= state.global_step]
        self._write()

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        # of several batches a step Transformers has divided each loss already (training_step)
        loss = sum(self.losses)
        if is_spike(loss, self.before):
            rows = rows_of(self.dataset, self.inputs)
            self.found.append(
                msgspec.to_builtins(Spike(state.global_step, loss, median(self.before), rows))
            )
            self._write()
        else:
            self.before = [*self.before, loss][-WINDOW:]
        self.losses, self.inputs = [], []

    def _write(self) -> None:
        write_text(self.out, msgspec.json.encode({"spikes": self.found}).decode())
