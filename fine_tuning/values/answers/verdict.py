"""A contract and its replay compared: what is equal, what differs, and why."""

from dataclasses import dataclass
from typing import Annotated, Literal

Same = Literal["equal", "close", "differs", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first place at which two texts or lists of ids are not the same."""

    at: Annotated[int, "letter or token, from 0"]
    expected: Annotated[str, "what stands there in the contract"]
    found: Annotated[str, "what stands there in the target"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One conversation."""

    name: Annotated[str, "of the conversation"]
    prompt: Annotated[Same, "by the target's own template; unknown: it does not tell"]
    prompt_difference: Annotated[Difference | None, "the first"] = None
    answer: Annotated[Same, "close: it differs where two tokens are as likely, for this format"]
    answer_difference: Annotated[Difference | None, "the first"] = None
    stops: Annotated[Same, "whether the same answer ends in the same way"]
    drift: Annotated[
        float | None,
        "mean difference of the log-probabilities of its likeliest tokens; null: not told",
    ] = None
    places: Annotated[int, "tokens of the answer at which they were compared"] = 0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A cause of drift."""

    cause: Annotated[str, "by its name in docs/prove.md"]
    text: Annotated[str, "what shows it"]
    fix: Annotated[str, "what to do"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a target serves what was trained."""

    target: Annotated[str, "folder, file or address"]
    kind: Annotated[str, "how it was asked"]
    holds: Annotated[bool, "nothing differs beyond what its number format explains"]
    format: Annotated[str, "the number format"]
    allowed: Annotated[float, "the drift that it explains"]
    moved: Annotated[float | None, "the drift of the base model; null: not known"] = None
    findings: Annotated[tuple[Finding, ...], "why it does not hold"] = ()
    notes: Annotated[tuple[str, ...], "what could not be compared, and what was assumed"] = ()
    conversations: Annotated[tuple[Compared, ...], "in the order of the contract"]
