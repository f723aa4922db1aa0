"""A run at work: the only place that remembers, times, records and announces what is done."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from fine_tuning.disk import files
from fine_tuning.errors import FineTuningError, Interrupted
from fine_tuning.run.folder import RunFolder
from fine_tuning.screen import Screen
from fine_tuning.values.codec import fingerprint, json_text
from fine_tuning.values.record import Done, RunRecord, Status
from fine_tuning.values.results import Failure
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec

T = TypeVar("T")


class Stage(Protocol[T]):
    """One stage of the straight line as a value: what it works on, and nothing of the run.

    `name` is its field in `values.record.Stages`.
    """

    name: ClassVar[str]

    def inputs(self) -> tuple[Any, ...]:
        """All that the result depends on."""

    def holds(self, known: T) -> bool:
        """Whether what an earlier command made of the same inputs is still there."""

    def do(self, screen: Screen) -> T:
        """The work, drawn on the screen."""

    def tell(self, result: T, screen: Screen, *, known: bool) -> None:
        """What the person should know of the result; `known`: it was there before."""


@dataclass
class Run:
    """One run while a command works in it.

    The record of a training that has begun is only changed once nothing can be refused any more
    (`accept`): a command that is refused, or only looks, leaves it as it was.
    """

    folder: RunFolder
    screen: Screen
    record: RunRecord
    accepted: bool

    @property
    def spec(self) -> RunSpec:
        """The settings that hold now."""
        return self.record.settings

    @property
    def sources(self) -> Mapping[str, Source]:
        """Who set each of them."""
        return self.record.sources

    @property
    def main_folder(self) -> Path:
        """Where checkpoints and weights lie: other nodes than the first work in a folder inside."""
        return self.folder.path if self.spec.on_first_node else self.folder.path.parent

    def once(self, stage: Stage[T]) -> T:
        """The stage's result: of an earlier command, if its inputs are the same and its files are
        still there."""
        known = self.known(stage)
        if known is not None:
            stage.tell(known, self.screen, known=True)
            return known
        began = time.time()
        try:
            result = stage.do(self.screen)
        except BaseException:
            # Count the time of a stage that somebody, or a fault, has ended.
            seconds = time.time() - began
            total = round(self.record.unfinished.get(stage.name, 0.0) + seconds, 3)
            unfinished = {**self.record.unfinished, stage.name: total}
            self.record = replace(self.record, unfinished=unfinished)
            raise
        done = Done(
            inputs=fingerprint(*stage.inputs()),
            began=began,
            seconds=round(time.time() - began, 3),
            result=result,
        )
        self.record = replace(self.record, stages=self.record.stages.having(stage.name, done))
        self.save()
        stage.tell(result, self.screen, known=False)
        return result

    def known(self, stage: Stage[T]) -> T | None:
        """What `once` would give without doing it; None if it must be done."""
        done: Done[T] | None = getattr(self.record.stages, stage.name)
        if done is None or done.inputs != fingerprint(*stage.inputs()):
            return None
        return done.result if stage.holds(done.result) else None

    def accept(self) -> None:
        """From now on the settings of this command are those of the run."""
        self.accepted = True
        self.save()

    def begin_training(self, given: Mapping[str, Any]) -> None:
        """A training with these settings of its trainer begins, or goes on."""
        stages = self.record.stages.having("train", None)
        self.record = replace(self.record, begun=dict(given), attempted=False, stages=stages)
        self.accept()

    def require_not_stopped(self, after: str) -> None:
        """Raise Interrupted if somebody has asked to stop."""
        if self.folder.stop_file.exists():
            raise Interrupted(f"Stopped after {after}.", fix="the same command does the rest")

    def end(self, status: Status) -> None:
        """The command has done what it was asked for."""
        self.record = replace(self.record, status=status)
        self.save()

    def fail(self, error: FineTuningError) -> None:
        """Keep why the command stopped."""
        failure = Failure(what=error.what, why=error.why, fix=error.fix)
        status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
        self.record = replace(self.record, status=status, failure=failure)
        self.save()

    def save(self) -> None:
        """Write `run.json`, if the record is this command's to change."""
        if self.accepted:
            text = json_text(self.record, root=self.folder.path)
            files.write_text(self.folder.record, text, durable=True)
