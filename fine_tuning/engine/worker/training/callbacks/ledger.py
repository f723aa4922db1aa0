"""The loss of each row is measured before the first step of a training, and after the last."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments
from transformers import TrainerCallback

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.scoring.greedy import is_soft_prompt
from fine_tuning.engine.worker.scoring.row_losses import Measured, encoding_of, measure
from fine_tuning.engine.worker.scoring.score import template_settings
from fine_tuning.engine.worker.training.callbacks.stopping import Stopping


class LossesAround(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Measures every row around the training. One that goes on measures after it alone: what was
    before stands in the file still."""

    def __init__(
        self, events: Events, stopping: Stopping, measured: Measured, settings: Mapping[str, Any]
    ) -> None:
        self.events = events
        self.stopping = stopping
        self.measured = measured
        self.settings = settings

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if state.global_step == 0:
            Path(self.measured.out).unlink(missing_ok=True)
            # virtual tokens do something before they are trained; other fresh adapters do not
            off = known["model"].disable_adapter() if is_soft_prompt(known["model"]) else None
            with off or nullcontext():
                self._measure("before", known)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if not self.stopping.asked and Path(self.measured.out).exists():
            self._measure("after", known)

    def _measure(self, name: str, known: Mapping[str, Any]) -> None:
        tokenizer = known["processing_class"]
        arguments = DataArguments(**template_settings(self.settings))
        template = get_template_and_fix_tokenizer(tokenizer, arguments)
        # a template of pictures asks for it, also where a row has none
        processor = getattr(known["train_dataloader"].collate_fn, "processor", None)
        encoding = encoding_of(self.measured, template, tokenizer, self.settings, processor)
        measure(known["model"], tokenizer, encoding, self.measured, self.events, name)
