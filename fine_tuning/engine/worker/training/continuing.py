"""A training that continues does the steps that are left, with the rows that come next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import has_length


def _on_any_cpu(tensors: Any, location: str) -> Any:
    """Of several processes without a GPU each loads its optimizer to "cpu:0", which torch does not
    know (trainer.py:_load_optimizer_and_scheduler)."""
    return tensors if location.startswith("cpu:") else None


torch.serialization.register_package(100, lambda tensors: None, _on_any_cpu)


@contextmanager
def continued_exactly() -> Iterator[None]:
    """Mend how Transformers continues at the end of a training, and in the middle of a stream."""
    known = Trainer._run_epoch, Trainer._init_training_state
    Trainer._run_epoch = _unless_ended(known[0])
    Trainer._init_training_state = _in_the_pass(known[1])
    try:
        yield
    finally:
        Trainer._run_epoch, Trainer._init_training_state = known


def _unless_ended(run_epoch: Any) -> Any:
    """A training that continues from its last step is only finished.

    Transformers looks for the end after a step, never before the first (trainer.py:_run_epoch):
    with --max_steps, or epochs that are not whole, it would train one step too many.
    """

    def run(trainer: Any, *known: Any, **named: Any) -> None:
        if trainer.state.global_step >= trainer.state.max_steps:
            trainer.control.should_training_stop = True
        else:
            run_epoch(trainer, *known, **named)

    return run


def _in_the_pass(init_training_state: Any) -> Any:
    """A stream is continued in the pass over the rows in which it was left.

    Its length is unknown, so Transformers takes all steps for one epoch and would skip more batches
    than a pass has: from the second pass on, other rows than the next ones would be trained. The
    checkpoint knows better: its epoch is the number of passes, and the share of all batches that
    were taken from the last one.
    """

    def init(trainer: Any, max_steps: int, *known: Any, **named: Any) -> tuple[int, int]:
        epochs, batches = init_training_state(trainer, max_steps, *known, **named)
        if batches and not has_length(trainer.train_dataset):
            epochs = int(trainer.state.epoch)
            of_all = max_steps * trainer.args.gradient_accumulation_steps
            batches = round((trainer.state.epoch - epochs) * of_all)
        return epochs, batches

    return init
