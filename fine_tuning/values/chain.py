"""Runs of which each started from the model that the one before it left (`--from_run`)."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """One earlier run of a chain, as it was when the next one started from it."""

    run: str  # its folder
    stage: str
    method: str
    model: str  # what it was trained on
    data: tuple[str, ...]
    rows: int  # that were trained
    epochs: float
    created: float  # seconds since 1970
    scores: tuple[str, ...] = ()  # before and after, a line each
    weights: str = ""  # the beginning of the hash of what it left; empty: it was not noted
    chat_template: str | None = None  # a hash of the trained one; None: it was trained on text
