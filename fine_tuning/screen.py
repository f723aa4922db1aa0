"""What the job tells the person at the terminal: the protocol that `pipeline` talks to.

`fine_tuning.cli.screen` implements it for a terminal and for plain output. The values here are
shared with the report page, so that terminal and page say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Source = Literal["you", "config", "preset", "chosen", "default"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One resolved setting: who set it (`source`) and, if it was chosen, why."""

    name: str
    value: str
    reason: str = ""
    source: Source = "default"


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """All problems of one code: how many, what it is, where it was first seen, what to do.

    `count` counts the problems, `files` those among them that concern a whole file; `first` is
    `file:line`, or the file alone, and `example` what was found there.
    """

    code: str
    count: int
    message: str
    first: str = ""
    suggestion: str = ""
    severity: Literal["error", "warning"] = "error"
    example: str = ""
    files: int = 0

    @property
    def counted(self) -> str:
        """`312 rows`, `1 file`, `3 rows and 1 file`."""
        counts = ((self.count - self.files, "row"), (self.files, "file"))
        return " and ".join(f"{n:,} {what}{'s' * (n != 1)}" for n, what in counts if n)


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one row as text: trained on (in the loss), or masked."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """One row as the engine trains it, in spans; `title` says which row it is."""

    title: str
    spans: tuple[Span, ...]


class Screen(Protocol):
    """One place to which a job reports; stages follow each other, never overlap.

    Stage names: fetch_data, read, fetch_model, tokens, load, score_before, train, score_after,
    merge, prove, report.
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
