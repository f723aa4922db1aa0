"""`--metrics my.py:score`: metrics that the user brings, as functions of one row."""

import importlib.util
import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fine_tuning.disk.paths import at_home
from fine_tuning.errors import DataError, UsageError
from fine_tuning.measures.metrics import METRICS, Metric, mean
from fine_tuning.measures.texts import Floats
from fine_tuning.values.answers.scores import Scored

FORM = "write it as FILE.py:FUNCTION, with `def FUNCTION(question, expected, answer)`"


def read_metrics(named: Sequence[str], taken: typing.Collection[str]) -> Mapping[str, Metric]:
    """The metrics by the names of their functions. The files are run: they are the user's own.

    Raises UsageError, with every mistake, for what is no such function.
    """
    found: dict[str, Metric] = {}
    mistakes: list[str] = []
    for word in named:
        try:
            metric = _metric(word)
        except UsageError as error:
            mistakes += error.mistakes
            continue
        if metric.name in found or metric.name in (*METRICS, *taken):
            mistakes.append(f"--metrics {word}: there is a metric {metric.name} already.")
        found[metric.name] = metric
    if mistakes:
        raise UsageError(mistakes, fix=FORM)
    return found


def _metric(word: str) -> Metric:
    file, _, name = word.rpartition(":")
    path = at_home(file)
    if not file or not name.isidentifier() or not path.is_file():
        raise UsageError(f"--metrics {word}: there is no such file and function.")
    function = _function(word, path, name)
    answers = inspect.signature(function).return_annotation
    return Metric(
        name=name,
        title=name,
        kind="share" if answers in (bool, "bool") else "number",
        rows=_rows(word, function),
        of=mean,
        leads=False,
    )


def _function(word: str, path: Path, name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(f"metric_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # it ends in .py, or Python would not know
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name)
        inspect.signature(function).bind(question="", expected="", answer="")
    except Exception as error:  # it is somebody's program
        raise UsageError(
            f"--metrics {word} cannot be used: {type(error).__name__}: {error}."
        ) from error
    return typing.cast(Callable[..., Any], function)


def _rows(word: str, function: Callable[..., Any]) -> Callable[[Scored], Floats | None]:
    @cache  # for the gate too, and a function may be slow
    def scored(question: str, expected: str, answer: str) -> float:
        try:
            found = float(function(question=question, expected=expected, answer=answer))
        except Exception as error:  # it is somebody's program
            raise DataError(
                f"--metrics {word} failed: {type(error).__name__}: {error}",
                why=f"the answer was {answer[:200]!r}",
                fix="mend the function; it must give a number for every answer",
            ) from error
        if not math.isfinite(found):
            raise DataError(
                f"--metrics {word} gave {found}, which is no number that has a mean.",
                why=f"the answer was {answer[:200]!r}",
                fix="give a finite number for every answer",
            )
        return found

    def rows(sides: Scored) -> Floats | None:
        if not sides.samples:
            return None
        values = [scored(it.question, it.expected, it.answer) for it in sides.samples]
        return np.stack([np.array(values), np.ones(len(values))], axis=1)

    return rows
