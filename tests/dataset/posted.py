"""Rows as people post them, and what is said of them."""

from collections.abc import Mapping
from typing import Any

from fine_tuning.dataset.problems import cause_of
from fine_tuning.values.data import CheckedData
from tests.dataset.rows_on_disk import report

ASK = (
    "How is the valve opened?",
    "Which oil does it take?",
    "Who may open the lid?",
    "Is it loud?",
)
SAY = (
    "Turn the red wheel to the left until it stops.",
    "Any mineral oil of grade 46 will do, two litres.",
    "Only the fitter who signed the sheet on its side.",
    "No louder than a fridge at a metre of distance.",
)
PAIRS = [*zip(ASK, SAY, strict=True)]
PAIR_OF_TURNS = [("user", ASK[0]), ("assistant", SAY[0])]


def rows(make: Any) -> list[Any]:
    return [make(q, a, n) for n, (q, a) in enumerate(PAIRS)]


def codes(data: CheckedData) -> set[str]:
    return {group.code for group in data.problems}


def asked(data: CheckedData) -> str:
    """The one question of the data."""
    [found] = [p for p in report(data)["problems"] if is_question(p)]
    return str(found["message"])


def is_question(problem: Mapping[str, Any]) -> bool:
    return cause_of(problem["code"], problem["severity"]).effect == "question"


def turns(*texts: str, **flags: Any) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
