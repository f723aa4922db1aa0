"""What the screen and the report page both show, so that they say the same."""

from dataclasses import dataclass
from typing import Literal

from fine_tuning.units import counted

Effect = Literal["", "repair", "loss", "question"]
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

    `effect` is "repair" where no text is lost, "loss" where some is not trained, "question" where
    the user must say how the data is meant. `count` counts the problems, `files` those among them
    that concern a whole file; `first` is `file:line`, or the file alone, and `example` what was
    found there.
    """

    code: str
    count: int
    message: str
    first: str = ""
    suggestion: str = ""
    severity: Literal["error", "warning"] = "error"
    example: str = ""
    files: int = 0
    effect: Effect = ""

    @property
    def counted(self) -> str:
        """`312 rows`, `1 file`, `3 rows and 1 file`."""
        counts = ((self.count - self.files, "row"), (self.files, "file"))
        return " and ".join(counted(n, what) for n, what in counts if n)


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
