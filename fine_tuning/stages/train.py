"""train: the engine trains, from the last complete checkpoint if there is one, scored around."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fine_tuning.dataset.prepare.split import training_places
from fine_tuning.disk import checkpoints, files, hashes
from fine_tuning.disk.checkpoints import has_weights
from fine_tuning.disk.paths import shown
from fine_tuning.engine.launchers import Training, launcher_for
from fine_tuning.engine.loading import before_training, merged_before
from fine_tuning.engine.plan.memory.advice import advised
from fine_tuning.engine.plan.processes import require_devices
from fine_tuning.engine.plan.storage import require_room
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import adapter_template, forks_readers, served_request
from fine_tuning.errors import Interrupted, OutOfMemory, RowsError
from fine_tuning.report import score_lines
from fine_tuning.report.facts.collect import read_scores
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.base import note_base
from fine_tuning.stages.asking.ledger import ledger_line, no_ledger, remove_ledger, write_ledger
from fine_tuning.stages.planned import Planned
from fine_tuning.values.answers.scores import Scores
from fine_tuning.values.codec import from_json
from fine_tuning.values.results import Encoded, Trained
from fine_tuning.values.tables.objectives import OBJECTIVES

OnEvent = Callable[[Mapping[str, Any]], None]
STATES = "checkpoint-*/trainer_state.json"  # Transformers writes it last but for the rotation


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train as planned.

    `main` is where weights and checkpoints lie: other nodes than the first work in a folder inside.
    `has_begun`: an earlier command began it. `saved` is called each time that a checkpoint is
    there.
    """

    name: ClassVar[str] = "train"
    planned: Planned
    worker: Worker
    encoded: Encoded | None = None  # rows that were encoded ahead
    main: Path
    has_begun: bool
    scores: Path
    log: Path
    stop_file: Path
    saved: Callable[[], object] = lambda: None

    def inputs(self) -> tuple[Any, ...]:
        parts = self.planned.parts
        return (self.planned.settings.of_training, parts.train_rows, parts.val_rows)

    def holds(self, known: Trained) -> bool:
        """The weights are there; lost ones come back from the last checkpoint, without a step."""
        return has_weights(self.planned.run_dir) or not self.planned.spec.on_first_node

    def do(self, screen: Screen) -> Trained:
        planned, chosen = self.planned, self.planned.plan.chosen
        if chosen.device_type == "cuda":  # one that has begun may go on where there are fewer
            devices = self.worker.request("devices", {}, worker_events(screen))
            require_devices(chosen.processes, devices)
        checkpoint = self._continued_from(screen)
        if checkpoint is not None:
            screen.say(f"Continuing from {checkpoint.name}.")
        if forks_readers(planned.settings.all, planned.look):
            self.worker.restart()
        if planned.spec.on_first_node:  # which alone writes weights
            self._require_room(screen)
        if self._no_ledger and planned.spec.ledger != "off":
            screen.say(f"No ledger of the losses of rows is kept: {self._no_ledger}.")
        training = self.training(checkpoint)
        launcher = launcher_for(training)
        try:
            result = launcher.train(
                training, self.worker, screen, self._watched(worker_events(screen))
            )
        except RowsError as error:
            rows = self._rows_of(error.rows)
            raise error.at(training_places(planned.data, planned.parts, rows)) from None
        except OutOfMemory as error:
            raise advised(error, planned.spec, chosen, planned.stage, planned.look.model) from None
        except Interrupted:
            raise self._stopped("Ended at once") from None
        if result["interrupted"]:
            raise self._stopped("Stopped")
        ship_template(planned.run_dir, adapter_template(planned.look.template))
        if self._no_ledger:
            remove_ledger(planned.run_dir)
        else:
            write_ledger(
                planned.run_dir, planned.data, planned.parts, self.row_losses, self._rows_of
            )
        if self.planned.spec.on_first_node and (planned.run_dir / "adapter_config.json").exists():
            made = planned.settings.by_hand
            base, before = before_training(made).base, map(Path, merged_before(made))
            name = str(planned.spec.model_name_or_path)
            note_base(planned.run_dir, name, Path(base), list(before))
        # by whoever scored it: this training, the one that it goes on from, or the worker by itself
        scores = read_scores(planned.run_dir) if training.scoring else Scores()
        scored = {"before": scores.before.metrics, "after": scores.after.metrics}
        return from_json({**result, **scored, "epochs": planned.spec.epochs}, Trained)

    def tell(self, result: Trained, screen: Screen, *, known: bool) -> None:
        if known:
            screen.say("Training is already done with these settings.")
            return
        for line in score_lines(self.planned.run_dir):
            screen.say(line)
        if line := ledger_line(self.planned.run_dir):
            screen.say(line)

    def _require_room(self, screen: Screen) -> None:
        planned = self.planned
        if warning := require_room(planned.plan.chosen, planned.settings.all, self.main):
            screen.warn(warning)

    def _continued_from(self, screen: Screen) -> Path | None:
        """The newest checkpoint that is whole; what that means is said."""
        without_optimizer = self.planned.settings.keeps_no_optimizer
        if self.planned.spec.on_first_node:
            checkpoints.set_aside_incomplete(self.main, without_optimizer=without_optimizer)
            found = checkpoints.checkpoints(self.main, without_optimizer=without_optimizer)
            checkpoints.set_aside_damaged(found, screen.warn)
        found = checkpoints.checkpoints(self.main, without_optimizer=without_optimizer)
        if not found:
            if self.has_begun:
                screen.warn("there is no checkpoint to continue: this training starts anew")
            return None
        if not checkpoints.has_optimizer(found[-1]):
            screen.warn(
                f"{found[-1].name} holds no optimizer state (--save_only_model): the continued "
                "training is not the one that would have gone on"
            )
        if not self.planned.never_continues:
            return found[-1]
        if self.planned.spec.on_first_node:
            checkpoints.put_aside(found, "unused")
        what = self.planned.never_continues
        screen.warn(f"{what} cannot be continued: this training starts from the beginning")
        return None

    def _watched(self, show: OnEvent) -> OnEvent:
        """The same, and a word for each checkpoint once its state is written."""
        known = set(self.main.glob(STATES))

        def told(event: Mapping[str, Any]) -> None:
            show(event)
            found = set(self.main.glob(STATES))
            if found - known:
                self.saved()
            known.update(found)

        return told

    def _stopped(self, how: str) -> Interrupted:
        """What is kept of a training that somebody ended, as it lies on the disk."""
        without_optimizer = self.planned.settings.keeps_no_optimizer
        found = checkpoints.checkpoints(self.main, without_optimizer=without_optimizer)
        if not found or self.planned.never_continues:
            why = "before the first checkpoint" if not found else "and it cannot be continued"
            return Interrupted(f"{how}, {why}.", fix="the same command starts the training again")
        step, steps = checkpoints.progress(found[-1])
        lost = "" if how == "Stopped" or step == steps else "; the steps after it are lost"
        return Interrupted(
            f"{how}: {shown(found[-1])} is saved, step {step:,} of {steps:,}{lost}.",
            fix="the same command continues from it",
        )

    def training(self, checkpoint: Path | None, *, last_step: int | None = None) -> Training:
        """What the processes are given; `last_step` ends the training early, as if stopped."""
        planned = self.planned
        expected = planned.trainer.expected(planned.settings, planned.parts, planned.places)
        if self.encoded is not None and self.encoded.sequences:
            # a row whose history is rewritten was encoded as several sequences
            expected = {**expected, "count": self.encoded.trained_on}
        return Training(
            spec=planned.spec,
            chosen=planned.plan.chosen,
            request={
                "settings": planned.settings.all,
                "stop_path": str(self.stop_file),
                "resume_from": str(checkpoint) if checkpoint else None,
                "scores_path": str(self.scores),
                "last_step": last_step,
                "expected": expected,
            },
            scoring=planned.scoring,
            measured=None if self._no_ledger else self._measured(),
            before=before_training(planned.settings.by_hand),
            after=planned.tuned(),
            scores=self.scores,
            log=self.log,
            stop_file=self.stop_file,
        )

    @property
    def row_losses(self) -> Path:
        """Where the worker keeps the losses of the rows."""
        return self.log.with_name("row_losses.json")

    @cached_property
    def _no_ledger(self) -> str:
        """Why the losses of the rows are not measured; empty if they are."""
        return no_ledger(self.planned)

    def _measured(self) -> dict[str, Any]:
        files = {"train": str(self.planned.parts.train_path)}
        if self.planned.parts.val_path and self.planned.parts.val_rows:
            files["validation"] = str(self.planned.parts.val_path)
        return {
            "files": files,
            "kind": OBJECTIVES[self.planned.stage].scored,
            "out": str(self.row_losses),
            "served": served_request(self.planned.look.template),
        }

    def _rows_of(self, sequences: Sequence[int]) -> Sequence[int]:
        """The rows of these sequences, which are more than there are rows where they were encoded
        ahead by a template that rewrites history."""
        numbers = self.planned.places.encoded / "train.rows"
        if self.encoded is None or not numbers.exists():
            return sequences
        known = np.fromfile(numbers, "<u4")
        return list(dict.fromkeys(int(known[place]) for place in sequences))


def ship_template(run_dir: Path, chat_template: str | None) -> None:
    """Leave this chat template beside the adapter, or none: not what LLaMA-Factory made of it."""
    path = run_dir / "chat_template.jinja"
    if chat_template is None:
        path.unlink(missing_ok=True)
    else:
        files.write_text(path, chat_template, durable=True)
    hashes.note(run_dir, path.name)
