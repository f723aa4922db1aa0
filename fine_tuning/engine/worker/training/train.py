"""Training: LLaMA-Factory's `run_exp`, watched, stopped cleanly, scored before and after."""

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments
from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.mended import mended_loading, training_dtype
from fine_tuning.engine.worker.no_trace import evaluated_unseen
from fine_tuning.engine.worker.online.alarms import Alarms
from fine_tuning.engine.worker.online.run import run_online
from fine_tuning.engine.worker.scoring.asking import NotScored
from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.scoring.rewards.rewarded import rewards_of
from fine_tuning.engine.worker.scoring.row_losses import Measured
from fine_tuning.engine.worker.scoring.score import (
    Scoring,
    not_scored_text,
    score_model,
    scored_before,
    template_settings,
    write_scores,
)
from fine_tuning.engine.worker.training.adapters.beside import RankBudget, SavedEncoder
from fine_tuning.engine.worker.training.adapters.peft import as_before, engine_arguments, installed
from fine_tuning.engine.worker.training.adapters.pissa import take_converted
from fine_tuning.engine.worker.training.adapters.targets import require_targets, require_untied
from fine_tuning.engine.worker.training.balance import Expected, read_expected, require_all
from fine_tuning.engine.worker.training.callbacks.finite import FiniteNumbers
from fine_tuning.engine.worker.training.callbacks.hashed import Hashed, note_model
from fine_tuning.engine.worker.training.callbacks.learning import Learning
from fine_tuning.engine.worker.training.callbacks.ledger import LossesAround
from fine_tuning.engine.worker.training.callbacks.spikes import Spikes
from fine_tuning.engine.worker.training.callbacks.stopping import Stopped, Stopping
from fine_tuning.engine.worker.training.continuing import continued_exactly
from fine_tuning.engine.worker.training.saving import tied_heads_saved
from fine_tuning.errors import EngineError

PROGRESS_EVERY_S = 0.2


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Reports progress: a step once, with its own losses."""

    def __init__(self, events: Events, stopping: Stopping, expected: Expected) -> None:
        self.expected = expected
        self.events = events
        self.stopping = stopping
        self.encoded: int | None = None
        self.ended = False
        self.facts: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self._last_sent = 0.0
        self._step_began = 0.0
        self._seconds = 0.0
        self._tokens_before = 0
        self._logged = (0, 0.0)  # tokens and seconds of the steps up to the last log

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        require_same_step(state.global_step, args.device)
        require_targets(known["model"])
        require_untied(known["model"])
        if self.expected.workers:
            self.events.stage("balance", self.expected.count, self.expected.unit)
        dataset = known["train_dataloader"].dataset
        self.encoded = require_all(dataset, self.expected, self.events.progress)
        self._tokens_before = state.num_input_tokens_seen
        self.events.stage("train", state.max_steps, "steps")
        self.events.progress(state.global_step, state.max_steps)

    def on_step_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        now = time.monotonic()
        self._seconds += now - self._step_began  # without evaluating and saving
        comes_with_losses = control.should_log or control.should_evaluate
        if now - self._last_sent >= PROGRESS_EVERY_S and not comes_with_losses:
            self._last_sent = now
            self._send(state)

    def on_log(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        logs = known.get("logs") or {}
        if "loss" in logs:
            state.log_history[-1] |= self._measured(state)
        for ours, theirs in (
            ("loss", "loss"),
            ("learning_rate", "learning_rate"),
            ("grad_norm", "grad_norm"),
            ("eval_loss", "eval_loss"),
            ("reward", "reward"),
        ):
            if theirs in logs:
                self.facts[ours] = float(logs[theirs])
        self.metrics.update({k: v for k, v in logs.items() if isinstance(v, int | float)})
        evaluated = any(name.startswith("eval_") for name in logs)
        is_whole = evaluated or ("loss" in logs and not control.should_evaluate)
        if is_whole and not (self.ended or self.stopping.asked):
            self._send(state)  # not what LLaMA-Factory evaluates once more after the training

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.ended = True

    def _measured(self, state: Any) -> dict[str, float]:
        """Speed of the steps since the last log, and memory, as the report draws them."""
        tokens, seconds = state.num_input_tokens_seen - self._tokens_before, self._seconds
        then, self._logged = self._logged, (tokens, seconds)
        if tokens > then[0] and seconds > then[1]:
            speed = (tokens - then[0]) / (seconds - then[1])
            return {"tokens_per_second": speed, **memory()}
        return memory()

    def _send(self, state: Any) -> None:
        tokens = state.num_input_tokens_seen - self._tokens_before
        if tokens and self._seconds:
            self.facts["tokens_per_second"] = tokens / self._seconds
        self.facts["epoch"] = state.epoch
        self.events.progress(state.global_step, state.max_steps, **self.facts)
        self.facts.pop("eval_loss", None)  # news once


def memory() -> dict[str, float]:
    """Bytes that are allocated on the GPU at most, else those of this process."""
    if torch.cuda.is_available():
        return {"gpu_memory": float(torch.cuda.max_memory_allocated())}
    return {"process_memory": float(psutil.Process().memory_info().rss)}


def require_same_step(step: int, device: Any) -> None:
    """Raise EngineError unless all processes begin at the same step.

    A node that does not see the checkpoints of the first would begin anew, and average its
    gradients with theirs.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    ends = torch.tensor([-step, step], device=device)
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    first, last = -int(ends[0]), int(ends[1])
    if first != last:
        raise EngineError(
            f"The nodes do not continue from the same step: {first} and {last}.",
            why="one of them does not see the checkpoints of the first node",
            fix="give an --output_dir on a disk that all nodes share",
        )


class ScoreAround(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Scores the model that is being trained, before its first and after its last step.

    A fresh LoRA adapter changes nothing, so before the first step this is the base model. A
    training that somebody stopped is not scored: it goes on later. `watch` knows who ended it.
    """

    def __init__(
        self,
        watch: Watch,
        scoring: Scoring,
        out: Path,
        data_args: Mapping[str, Any],
    ) -> None:
        self.watch = watch
        self.events = watch.events
        self.scoring = scoring
        self.out = out
        self.data_args = data_args
        self.can_score = True
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if state.global_step == 0:
            self.before = self._score("before", known)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        # early stopping ends before the last step, and is an end
        if self.can_score and not self.watch.stopping.asked:
            self.after = self._score("after", known)

    def _score(self, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
        tokenizer = known["processing_class"]
        template = get_template_and_fix_tokenizer(tokenizer, DataArguments(**self.data_args))
        self.events.stage(f"score_{name}", self.scoring.samples, "rows")
        processor = getattr(known["train_dataloader"].collate_fn, "processor", None)
        prompts = prompts_of(template, tokenizer, self.scoring.served)
        model = MediaModel(known["model"], tokenizer, template, processor, prompts)
        try:
            with as_before(known["model"]) if name == "before" else nullcontext():
                before = scored_before(self.out) if name == "after" else None
                scores = score_model(model, self.scoring, self.events, f"score_{name}", before)
        except NotScored as error:  # it is trained all the same
            self.events.note(not_scored_text(error))
            self.can_score = False
            return {}
        write_scores(self.out, name, scores)
        self.events.send("scores", {"name": name, "metrics": scores["metrics"]})
        return dict(scores["metrics"])


def train(
    *,
    events: Events,
    settings: Mapping[str, Any],
    stop_path: str,
    expected: Mapping[str, Any],
    resume_from: str | None = None,
    scoring: Mapping[str, Any] | None = None,
    scores_path: str = "",
    last_step: int | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run LLaMA-Factory's training with the settings of `train.yaml`.

    The training ends with a checkpoint once the file `stop_path` appears, or after `last_step`
    (`Stopping`); `interrupted` in the result says that it did. `measured`: the rows whose losses
    are kept from before and after it.
    """
    events.part("load")
    arguments = engine_arguments(settings)
    if resume_from:
        arguments["resume_from_checkpoint"] = resume_from
    else:  # an adapter of an earlier attempt may lie there (llamafactory/hparams/parser.py)
        arguments["overwrite_output_dir"] = True
    stopping = Stopping(events, Path(stop_path), last_step)
    watch = Watch(events, stopping, read_expected(expected))
    finite = FiniteNumbers()
    learning = Learning(events, settings, stopping)
    alarms = Alarms(events)
    callbacks: list[Any] = [
        *(finite, learning, watch, alarms),
        *(Hashed(), stopping),
    ]
    spikes = Spikes(Path(measured["out"])) if measured else None
    if measured:
        callbacks.insert(0, LossesAround(events, stopping, Measured(**measured), settings))
        callbacks.append(spikes)
    around = None
    if scoring:
        data_args = template_settings(settings)
        around = ScoreAround(watch, Scoring(**scoring), Path(scores_path), data_args)
        callbacks.insert(0, around)  # before the bar of the training begins
    # what is scored in the end is what they bring back
    callbacks = [RankBudget(resume_from), SavedEncoder(resume_from), *callbacks]
    with (
        continued_exactly(),
        installed(settings),
        mended_loading(training_dtype(arguments)),
        tied_heads_saved(),
        evaluated_unseen(arguments),
        finite.watching(),
        learning.watching(),
        spikes.watching() if spikes else nullcontext(),
        stopping.watching(),
        suppress(Stopped),
    ):
        if "online" in settings:
            run_online(
                settings,
                arguments,
                rewards_of({**settings["online"], **settings["asked"]}),
                callbacks,
            )
        else:
            run_exp(arguments, callbacks=callbacks)
    if int(os.environ.get("RANK", "0")) == 0 and not stopping.asked:
        take_converted(Path(settings["output_dir"]))
    if not stopping.asked:
        note_model(Path(settings["output_dir"]))
    return {
        "interrupted": stopping.asked,
        "encoded": watch.encoded,
        "expected": {"unit": watch.expected.unit, "count": watch.encoded},  # or it had ended
        "metrics": watch.metrics,
        "before": around.before if around else {},
        "after": around.after if around else {},
        "alarms": [*alarms.sounded.values()],
        "peak_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
        "seconds": events.seconds(),
    }
