"""What the screen and the report page both show, so that they say the same."""

from dataclasses import dataclass
from typing import Annotated, Literal

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
    """All problems of one code: how many, what it is, where it was first seen, what to do."""

    code: Annotated[str, "its name, which stays the same"]
    count: Annotated[int, "problems of this code"]
    message: Annotated[str, "what is wrong"]
    first: Annotated[str, "where it was first seen: `file:line`, or the file alone"] = ""
    suggestion: Annotated[str, "what to do"] = ""
    severity: Annotated[Literal["error", "warning"], "an error drops the row"] = "error"
    example: Annotated[str, "what was found there"] = ""
    files: Annotated[int, "those of the problems that concern a whole file"] = 0
    effect: Annotated[
        Effect,
        "repair: no text is lost; loss: some is not trained; question: the user must say how the "
        "data is meant",
    ] = ""

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
