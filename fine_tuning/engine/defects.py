"""Defects of the engine and its libraries that a plan can meet, and what is done about each.

A fact, not a branch: `docs/engine-defects.md` is written from this table, and a plan is checked
against it. Versions: those of constraints.txt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One defect: where it is, when it strikes, what it would do, and what is done instead."""

    name: str
    source: str  # the library's file
    when: str  # `applies` in words
    applies: Callable[[Settings], bool]  # to the settings of train.yaml
    consequence: str
    answer: str


REPACKED_4BIT = Defect(
    name="4-bit weights repacked",
    source="bitsandbytes/nn/modules.py, Linear4bit.forward",
    when="4-bit on a CPU, one with AVX512-BF16",
    applies=lambda settings: (
        settings.get("quantization_bit") == 4 and bool(settings.get("use_cpu"))
    ),
    consequence="The first evaluation repacks the weights, and what is packed has no backward pass "
    "for a layer's input. A model with biases stops with an error in the next step; one without "
    "trains another adapter, and nothing says so.",
    answer="Our worker keeps the weights unpacked, so that it scores and evaluates. LLaMA-Factory "
    "alone cannot, so `train.yaml` does not evaluate.",
)

DEFECTS: tuple[Defect, ...] = (REPACKED_4BIT,)


PAGE = Path(__file__).parents[2] / "docs" / "engine-defects.md"
HEAD = """\
# Defects of the engine that a plan can meet

`python -m fine_tuning.engine.defects` writes this page from the table that plans are checked
against. Versions: those of `constraints.txt`.

| when | what would happen | what is done |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = (f"| {it.when} (`{it.source}`) | {it.consequence} | {it.answer} |\n" for it in DEFECTS)
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
