"""What the job tells the person at the terminal: the protocol that `pipeline` talks to.

`fine_tuning.cli.screens.screen` implements it for a terminal and for plain output.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup


class Screen(Protocol):
    """One place to which a job reports; stages follow each other, never overlap.

    Stage names: fetch_data, read, fetch_model, engine, tokens, encode, load, balance,
    score_before, row_losses_before, train, save, score_after, row_losses_after, contract, combine,
    merge, prove, replay, push (`fine_tuning.cli.screens.progress` has a text for each).
    """

    def say(self, text: str) -> None:
        """One plain line."""

    def warn(self, text: str) -> None:
        """One line that a person should not miss."""

    def begin(self, stage: str, total: float | None = None, unit: str = "") -> None:
        """A stage starts; `total` in `unit` (rows, steps, bytes ...), None if not known."""

    def advance(
        self,
        done: float,
        total: float | None = None,
        *,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """So much of the stage is done, counted from its start (also in a continued run).

        `facts`: step, epoch, loss, learning_rate, tokens_per_second, eval_loss; those left out
        keep their last value.
        """

    def end(self, outcome: str) -> None:
        """The stage is over; `outcome` says in a few words what came of it."""

    def choices(self, rows: Sequence[Choice]) -> None:
        """The table of settings before the run."""

    def file(self, path: Path, text: str) -> None:
        """The content of a generated file."""

    def problems(self, groups: Sequence[ProblemGroup]) -> None:
        """What is wrong with the data, grouped by cause, the most frequent error first."""

    def masked(self, rows: Sequence[MaskedRow]) -> None:
        """Rows with trained and masked text told apart."""


def worker_events(screen: Screen) -> Callable[[Mapping[str, Any]], None]:
    """Draw the worker's events: progress of its own stages inside one request."""

    def show(event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            facts = {name: value for name, value in event["facts"].items() if name != "stage"}
            screen.advance(event["done"], event["total"], facts=facts)
        elif kind == "stage":
            screen.end("")
            screen.begin(event["name"], event["total"], event["unit"])
        elif kind == "note":
            screen.say(event["text"])
        elif kind == "stopping":
            screen.say(
                "Stopping: this step is finished and a checkpoint is saved. Ctrl-C again ends at "
                "once, and loses the steps since the last checkpoint."
            )
        elif kind == "saving":  # the training has not ended: the screen says where it stopped
            screen.begin("save")

    return show


@contextmanager
def downloading(screen: Screen, stage: str, name: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a download: a stage that begins with its first bytes, if there are any."""
    begun = False

    def show(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            screen.begin(stage, total, "bytes")
            begun = True
        screen.advance(done, total)

    yield show
    if begun:
        screen.end(name)
