"""A training whose numbers are no longer finite ends at that step.

Transformers by itself leaves such losses out of its log (trainer.py, logging_nan_inf_filter) and
goes on; every weight is NaN one step later, and the training ends as if it had worked.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from llamafactory.extras.constants import IGNORE_INDEX
from torch.nn.utils import get_total_norm
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import has_length

from fine_tuning.errors import RowsError

# The scale of float16 gradients begins at 2**16 and is halved at each overflow: after as many in a
# row it is not the scale.
MOST_SKIPPED = 32
NAMED = 16
IDS = ("chosen_input_ids", "input_ids")  # columns of encoded rows, of pairs and of others


class FiniteNumbers(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Raises RowsError at the first step whose loss, gradients or weights are not finite."""

    def __init__(self) -> None:
        self.inputs: list[Mapping[str, Any]] = []  # of the batches since the last step
        self.dataset: Any = None
        self.skipped = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See the loss of every batch and the norm of every gradient; a callback sees neither."""
        step, norm = Trainer.training_step, Trainer._get_grad_norm

        def watched_step(trainer: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            self.dataset = trainer.train_dataset
            self.inputs.append(inputs)
            loss = step(trainer, model, inputs, *more, **named)
            if not bool(torch.isfinite(loss).all()):
                self._stop(trainer.args, trainer.state.global_step, "the loss", [inputs])
            return loss

        def watched_norm(trainer: Any, *given: Any, **named: Any) -> Any:
            found = norm(trainer, *given, **named)
            self._require_norm(trainer.args, trainer.state.global_step, found)
            return found

        Trainer.training_step, Trainer._get_grad_norm = watched_step, watched_norm
        try:
            yield
        finally:
            Trainer.training_step, Trainer._get_grad_norm = step, norm

    def _require_norm(self, args: Any, steps: int, norm: Any) -> None:
        """An infinite norm scales all gradients to zero: the training would go on, and learn
        nothing. A step of float16 that overflows is left out, and its scale is lowered."""
        if norm is None or math.isfinite(float(norm)):
            self.skipped = 0
            return
        self.skipped += 1
        if not args.fp16 or self.skipped > MOST_SKIPPED:
            self._stop(args, steps, "the gradient", self.inputs)

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Before anything of this step is saved."""
        if not are_finite(it.data for it in known["model"].parameters() if it.requires_grad):
            self._stop(args, state.global_step - 1, "a weight", self.inputs)
        self.inputs = []

    def _stop(self, args: Any, steps: int, what: str, inputs: Iterable[Mapping[str, Any]]) -> None:
        batches = list(inputs)
        labels = [batch["labels"] for batch in batches if "labels" in batch]
        why, fix = _cause(args, steps, what, labels)
        raise RowsError(
            f"Step {steps + 1} ended the training: {what} is no longer a finite number.",
            why=f"{why}; nothing that this step made is kept",
            fix=fix,
            rows=rows_of(self.dataset, batches),
        )


def _cause(args: Any, steps: int, what: str, labels: Sequence[Any]) -> tuple[str, str]:
    """The likely cause, and what helps against it."""
    if labels and all(bool((it == IGNORE_INDEX).all()) for it in labels):
        return "nothing in the rows of this batch is trained", "take these rows out of the data"
    if args.fp16:
        return (
            "the numbers leave the range of float16, which ends at 65504",
            "give --fp16 false, or --bf16 true where the device has bfloat16",
        )
    if steps == 0 and what == "the loss":
        return (
            "no weight had been changed yet, so the base model itself gives such numbers",
            "download the model again, or take another",
        )
    return (
        "the weights are changed by too much at a time",
        f"give --restart with a smaller --learning_rate (it is {args.learning_rate:g}), with a "
        "smaller --lora_alpha if you have set it, or with more --warmup_steps",
    )


def are_finite(tensors: Iterable["torch.Tensor"]) -> bool:
    """Whether all numbers of all tensors are; of one that is spread over devices, those here."""
    here = (it.to_local() if hasattr(it, "to_local") else it for it in tensors)
    filled = [it for it in here if it.numel() and it.is_floating_point()]
    return not filled or math.isfinite(float(get_total_norm(filled, math.inf)))


def rows_of(dataset: Any, inputs: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """The numbers of the rows in these batches, found by their tokens, at most NAMED of them; none
    for a stream, and none where rows are joined into blocks."""
    columns = getattr(dataset, "column_names", None) or ()
    column = next((name for name in IDS if name in columns), None)
    if column is None or not has_length(dataset) or "position_ids" in columns:
        return ()
    # without padding; of pairs the rejected ones, too, which no row is looked up by
    wanted = {
        tuple(ids[mask != 0].tolist())
        for batch in inputs
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    }
    rows = (row[column] for row in dataset.select_columns([column]))
    found = (number for number, ids in enumerate(rows) if tuple(ids) in wanted)
    return tuple(islice(found, NAMED))
