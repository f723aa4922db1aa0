"""A training that is about to start, and what a launcher of it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fine_tuning.engine.loading import TunedModel
from fine_tuning.engine.process.launch import OnEvent, Worker
from fine_tuning.screen import Screen
from fine_tuning.values.plan import Chosen
from fine_tuning.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that the processes of a training are given."""

    spec: RunSpec
    chosen: Chosen
    request: Mapping[str, Any]  # the worker's stage `train`
    scoring: Mapping[str, Any] | None  # what is scored before and after; None: nothing
    measured: Mapping[str, Any] | None = None  # rows whose losses are kept; None: none are
    before: TunedModel
    after: TunedModel
    scores: Path
    log: Path
    stop_file: Path


class Launcher(Protocol):
    """One module of this folder: one way to start the processes."""

    def suits(self, training: Training) -> bool:
        """Whether this training is started so."""

    def train(
        self, training: Training, worker: Worker, screen: Screen, on_event: OnEvent
    ) -> dict[str, Any]:
        """Train, scored around if that was asked for; gives the worker's result."""
