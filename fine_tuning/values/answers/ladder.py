"""Sizes of one model, measured side by side: `--gguf ladder`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One file. Losses are in nats a token of the held-out answers; changes are from the
    unquantised file, with the 95% interval of the same rows (measures/paired.py)."""

    type: Annotated[str, "number format, by llama.cpp's name"]
    path: Annotated[Path, "the file"]
    bytes: Annotated[int, "its size"]
    stored: Annotated[Mapping[str, float], "share of its bytes by the formats of its tensors"] = (
        field(default_factory=dict)
    )
    prompt_speed: Annotated[float, "tokens of a prompt that are read in a second"]
    answer_speed: Annotated[float, "tokens that are generated in a second"]
    loss: Annotated[float, "of the held-out answers"]
    loss_change: Annotated[Interval | None, "its interval; null: of the unquantised file"] = None
    exact_match: Annotated[float | None, "share of answers that are the expected text"] = None
    exact_match_change: Annotated[Interval | None, "its interval"] = None
    divergence: Annotated[
        float | None, "mean KL divergence from the unquantised file's distributions, in nats"
    ] = None
    divergence_interval: Annotated[Interval | None, "of that mean, over the rows"] = None
    same_top: Annotated[float | None, "share of places with the same likeliest token"] = None
    worse: Annotated[tuple[str, ...], "metrics by which it is measurably worse"] = ()


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The files of one model, the largest first; the first is not quantised."""

    rungs: Annotated[tuple[Rung, ...], "the files"]
    recommended: Annotated[str, "the smallest that is not measurably worse than the first"]
    rows: Annotated[int, "held-out rows"]
    tokens: Annotated[int, "of their answers"]
    threads: Annotated[int, "that llama.cpp computed with"]
    rounds: Annotated[int, "in which the speeds were measured, by turns: the middle one counts"]
