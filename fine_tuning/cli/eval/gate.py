"""`--gate`: bounds that the scores must keep, read and checked before a model is loaded."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from fine_tuning.cli.chat.reasoning import parted
from fine_tuning.cli.settings.catalogue import did_you_mean
from fine_tuning.cli.settings.config_file import name_of, pairs_of, written_of
from fine_tuning.dataset.insight.sensitive import PERSONAL_DATA, SECRET, find, suspicion
from fine_tuning.errors import UsageError
from fine_tuning.measures.compare import interval, value
from fine_tuning.measures.metrics import METRICS, Metric, mean
from fine_tuning.measures.texts import Floats
from fine_tuning.values.answers.evaluation import Held
from fine_tuning.values.answers.scores import Scored
from fine_tuning.values.codec import is_json

GENERAL = "forgetting"
OF_A_VALUE, OF_A_CHANGE = ("at_least", "at_most"), ("better_by", "worse_by")
BOUNDS = (*OF_A_VALUE, *OF_A_CHANGE)
Sides = tuple[Scored, Scored]  # before, after


def of_answers(name: str, title: str, holds: Callable[[str], bool], *, good: bool = True) -> Metric:
    """The share of answers, without their reasoning, of which something holds."""

    def rows(scored: Scored) -> Floats | None:
        if not scored.samples:
            return None
        found = [holds(parted(it.answer)[1]) for it in scored.samples]
        return np.stack([np.array(found, float), np.ones(len(found))], axis=1)

    better = "higher" if good else "lower"
    return Metric(name=name, title=title, kind="share", better=better, rows=rows, of=mean)  # type: ignore[arg-type]  # one of the words


def holds_likely(code: str) -> Callable[[str], bool]:
    """Whether a text holds a likely secret, or personal data, as `validate` finds it in rows."""

    def holds(text: str) -> bool:
        suspected = suspicion(text.encode("utf-8", "replace"))
        return suspected is not None and any(it.code == code for it in find(text, suspected))

    return holds


ANSWERS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        of_answers("valid_json", "answers that are JSON", is_json),
        of_answers("secrets", "answers with a secret", holds_likely(SECRET), good=False),
        of_answers(
            "personal_data", "answers with personal data", holds_likely(PERSONAL_DATA), good=False
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One bound of one metric: `rows` says of which set; `confidence` makes a bound of a change
    one of its interval's near end."""

    name: str
    metric: Metric
    rows: str
    bound: str
    limit: float
    confidence: float | None = None

    @property
    def needs_base(self) -> bool:
        """Whether it compares two models."""
        return self.bound in OF_A_CHANGE

    def held(self, sides: Sides) -> Held:
        """Whether these scores keep it."""
        old, new = (self.metric.rows(side) for side in sides)
        after = value(self.metric, sides[1], new)
        if after is None:
            return Held(name=self.name, holds=False, says="it was not measured on these rows")
        if self.bound in OF_A_VALUE:
            holds = after >= self.limit if self.bound == "at_least" else after <= self.limit
            return Held(name=self.name, holds=holds, says=f"it is {after:.4g}")
        before = value(self.metric, sides[0], old)
        if before is None or old is None or new is None or old.shape != new.shape:
            return Held(name=self.name, holds=False, says="there is nothing to compare with")
        sign = -1 if self.metric.better == "lower" else 1
        gain, says = sign * (after - before), f"{before:.4g} -> {after:.4g}"
        if self.confidence is not None:
            ends = interval(self.metric, old, new, level=self.confidence)
            if ends is None:
                return Held(name=self.name, holds=False, says=f"{says}, without an interval")
            says += f", {self.confidence:.4g} interval {ends[0]:+.4g} to {ends[1]:+.4g}"
            gain = min(sign * end for end in ends)
        least = self.limit if self.bound == "better_by" else -self.limit
        return Held(name=self.name, holds=gain >= least, says=says)


def read_gate(path: Path, own: Mapping[str, Metric] | None = None) -> tuple[Line, ...]:
    """The lines of a gate's file; `own` are metrics that the user brought.

    Raises UsageError with every mistake in it.
    """
    mistakes: list[str] = []
    lines: dict[str, list[Line]] = {}
    for key, node in pairs_of(path, "gate"):
        name = name_of(key)
        place = f"{path.name}:{key.start_mark.line + 1} {name}"
        if name in lines:
            mistakes.append(f"{place} is given twice: write its bounds in one line.")
        lines[name] = _lines(name, written_of(node), place, own or {}, mistakes)
    if not lines:
        raise UsageError(
            f"The gate {path} holds no lines.", fix="write them as `exact_match: {better_by: 0.1}`"
        )
    if mistakes:
        raise UsageError(mistakes, fix="docs/eval.md lists metrics and bounds")
    return tuple(line for of_metric in lines.values() for line in of_metric)


def _lines(
    name: str, bounds: Any, place: str, own: Mapping[str, Metric], mistakes: list[str]
) -> list[Line]:
    if not isinstance(bounds, dict) or not bounds:
        mistakes.append(f"{place}: its bounds are missing: {name}: {{at_least: 0.9}}.")
        return []
    known = len(mistakes)
    metric, rows = _metric(name, bounds, place, own, mistakes)
    numbers = {
        key: _number(key, word, place, mistakes) for key, word in bounds.items() if key != "pattern"
    }
    confidence = numbers.pop("confidence", None)
    if confidence is not None and not 0 < confidence < 1:
        mistakes.append(f"{place}: confidence must be between 0 and 1, not {confidence:g}.")
    if name == GENERAL and set(numbers) == {"at_most"}:  # how much the loss of general rows rises
        numbers = {"worse_by": numbers["at_most"]}
    elif name == GENERAL:
        mistakes.append(f"{place}: it takes at_most: by how much the loss may rise.")
    elif confidence is not None and not set(numbers) & set(OF_A_CHANGE):
        mistakes.append(f"{place}: confidence goes with better_by or worse_by.")
    elif not numbers and len(mistakes) == known:
        mistakes.append(f"{place}: a bound is missing: {', '.join(BOUNDS)}.")
    if metric is None or len(mistakes) > known:
        return []
    if metric.better == "neither" and set(numbers) & set(OF_A_CHANGE):
        mistakes.append(f"{place} is neither better nor worse: give at_least or at_most.")
    said = ", ".join(f"{key} {word}" for key, word in bounds.items())
    return [
        Line(
            name=f"{name}: {said}" if name == GENERAL else f"{name}: {key} {limit:g}",
            metric=metric,
            rows=rows,
            bound=key,
            limit=limit,
            confidence=confidence if key in OF_A_CHANGE else None,
        )
        for key, limit in numbers.items()
        if limit is not None
    ]


def _metric(
    name: str,
    bounds: Mapping[str, Any],
    place: str,
    own: Mapping[str, Metric],
    mistakes: list[str],
) -> tuple[Metric | None, str]:
    """The metric of a line, and the set of rows that it is of."""
    if name == GENERAL:
        return METRICS["loss"], GENERAL
    rows, called = (GENERAL, name.removeprefix(f"{GENERAL}.")) if "." in name else ("rows", name)
    if called == "matches":
        return _pattern(bounds, place, mistakes), rows
    if "pattern" in bounds:
        mistakes.append(f"{place}: pattern goes with matches.")
    metric = {**METRICS, **ANSWERS, **(own if rows != GENERAL else {})}.get(called)
    if metric is None or (rows == GENERAL and not name.startswith(f"{GENERAL}.")):
        names = [*METRICS, *ANSWERS, *own, "matches", GENERAL]
        nearest = did_you_mean(get_close_matches(called, names, n=2, cutoff=0.5), "")
        mistakes.append(f"{place} is no metric.{nearest} Metrics: {', '.join(names)}.")
        return None, rows
    return metric, rows


def _pattern(bounds: Mapping[str, Any], place: str, mistakes: list[str]) -> Metric | None:
    written = str(bounds.get("pattern") or "")
    try:
        pattern = re.compile(written)
    except re.error as error:
        mistakes.append(f"{place}: pattern {written!r} is no regular expression: {error}.")
        return None
    if not written:
        mistakes.append(f"{place}: pattern is missing: a regular expression for the whole answer.")
    return of_answers("matches", "answers that match", lambda text: bool(pattern.fullmatch(text)))


def _number(key: Any, word: Any, place: str, mistakes: list[str]) -> float | None:
    if key not in (*BOUNDS, "confidence"):
        names = (*BOUNDS, "confidence", "pattern")
        nearest = did_you_mean(get_close_matches(str(key), names, n=1, cutoff=0.5), "")
        mistakes.append(f"{place}: {key} is no bound.{nearest} Bounds: {', '.join(names)}.")
        return None
    try:
        number = float(word)
        if np.isfinite(number):
            return number
    except (TypeError, ValueError):
        pass
    mistakes.append(f"{place}: {key} must be a number, not {word!r}.")
    return None
