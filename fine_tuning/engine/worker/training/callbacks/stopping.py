"""A training that somebody stops saves a checkpoint, and does nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer, TrainerCallback

from fine_tuning.engine.worker.events import Events


class Stopped(Exception):
    """The training was stopped, and its checkpoint is saved."""


class Stopping(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Ends the training with a checkpoint once the file `stop_path` appears, or `last` steps are
    done: after the step, or within the evaluation, that is under way. The last of the callbacks,
    since it raises Stopped.

    An evaluation that is due begins all the same: it draws the random numbers that the continued
    training must not draw, and ends with its first batch.
    """

    def __init__(self, events: Events, stop_path: Path, last: int | None = None) -> None:
        self.events = events
        self.stop_path = stop_path
        self.last = last
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self._is_asked(args, state):
            control.should_training_stop = True
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.asked:  # its step has saved
            control.should_evaluate = control.should_save = False

    def on_prediction_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.asked or self._is_asked(args, state):
            raise Stopped

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.asked:  # what the engine does after a training is not for half of one
            raise Stopped

    def _is_asked(self, args: Any, state: Any) -> bool:
        is_last = self.last is not None and state.global_step >= self.last
        self.asked = agreed(is_last or self.stop_path.exists(), args.device)
        if self.asked:
            self.events.send("saving", {})
        return self.asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Save where an evaluation is left: the trainer saves after it, which it never reaches."""
        known = Trainer.evaluate

        def evaluate(trainer: Any, *given: Any, **named: Any) -> Any:
            try:
                return known(trainer, *given, **named)
            except Stopped:
                handler = trainer.callback_handler
                trainer._save_checkpoint(trainer.model, trial=None)
                handler.on_save(trainer.args, trainer.state, trainer.control)
                handler.on_train_end(trainer.args, trainer.state, trainer.control)
                raise

        Trainer.evaluate = evaluate
        try:
            yield
        finally:
            Trainer.evaluate = known


def agreed(stop: bool, device: Any) -> bool:
    """Whether any process was asked to stop; all must end after the same step."""
    if not (dist.is_available() and dist.is_initialized()):
        return stop
    flag = torch.tensor([int(stop)], device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())
