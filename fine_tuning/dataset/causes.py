"""What a code of a problem means; the tables of codes are in `problems.py` and `read/codes.py`."""

from dataclasses import dataclass

from fine_tuning.values.data import Severity
from fine_tuning.values.shown import Effect


@dataclass(frozen=True, slots=True)
class Cause:
    """What one code means: in a few words, and what to do about it.

    An error drops the row (or, of a file, says what was not read). `effect` says what becomes of
    the text: a `repair` loses none, by a `loss` some of what a user wrote is not trained, and a
    `question` is for the user to answer and stops a run.
    """

    severity: Severity
    title: str
    fix: str
    effect: Effect = ""


def error(title: str, fix: str) -> Cause:
    """What is not trained."""
    return Cause("error", title, fix)


def question(title: str, fix: str) -> Cause:
    """What only the user can decide."""
    return Cause("error", title, fix, "question")


def warning(title: str, fix: str = "nothing to do") -> Cause:
    """What was repaired, or looks wrong."""
    return Cause("warning", title, fix, "repair" if fix.startswith("nothing to do") else "")


def loss(title: str, fix: str) -> Cause:
    """What is trained without a part of what was written."""
    return Cause("warning", title, fix, "loss")
