"""Rewards of answers: bundled ones, a user's own function, a reward model."""

import linecache
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from fine_tuning.engine.worker.scoring.rewards.judge import Judge as RewardModel
from fine_tuning.engine.worker.time_limit import TooLong, timed
from fine_tuning.errors import RowsError
from fine_tuning.values.codec import is_json
from fine_tuning.values.tables.rewards import OF_MANY_ANSWERS, OF_ONE_ANSWER, Reward, RewardKind

SHOWN = 400  # characters of an answer in a message
CONTINUES = "mend the function: the same command goes on from the last checkpoint"


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer to a row: what was asked, as a canonical row (`source`), as messages and as ids,
    and what was expected."""

    row: int
    source: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    prompt_ids: Sequence[int]
    expected: str
    answer: str
    answer_ids: Sequence[int]


Scorer = Callable[[Sequence[Asked]], list[float]]


@dataclass(frozen=True)
class Judge:
    """All rewards of a training, with what computes each."""

    rewards: Sequence[Reward]
    scorers: Sequence[Scorer]
    models: Mapping[str, RewardModel] = field(default_factory=dict)  # by their directories

    def each(self, answers: Sequence[Asked]) -> list[list[float]]:
        """Of each reward the numbers of all answers. Raises RowsError with the row, the answer and
        the line of the function."""
        return [scorer(answers) for scorer in self.scorers]

    def total(self, answers: Sequence[Asked]) -> list[float]:
        """The weighted sum for each answer."""
        weights = [reward.weight for reward in self.rewards]
        columns = zip(*self.each(answers), strict=True)
        return [sum(w * one for w, one in zip(weights, row, strict=True)) for row in columns]


@dataclass(frozen=True, kw_only=True)
class How:
    """What rewards are computed with: `seconds` that a function of the user's may take for a call,
    and reward models by their directories."""

    seconds: float = 60.0
    models: Mapping[str, RewardModel] = field(default_factory=dict)


def judge_of(rewards: Sequence[Reward], how: How) -> Judge:
    """The judge for these rewards."""
    return Judge(rewards, [SCORERS[it.kind](it, how) for it in rewards], how.models)


def _regex(reward: Reward, how: How) -> Scorer:
    pattern = re.compile(reward.argument)
    return lambda answers: [float(pattern.search(it.answer) is not None) for it in answers]


def _length(reward: Reward, how: How) -> Scorer:
    most = int(reward.argument)
    return lambda answers: [min(1.0, max(0.0, 2 - len(it.answer_ids) / most)) for it in answers]


def _model(reward: Reward, how: How) -> Scorer:
    model = how.models[reward.argument]

    def scores(answers: Sequence[Asked]) -> list[float]:
        rows = [with_answer_of(it.source, it.answer) for it in answers]
        return model.rewards(model.ids(rows), print)  # what it says goes to the log

    return scores


def with_answer_of(row: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """The row, as if the model's answer were its own."""
    *before, _ = row["conversations"]
    return {**row, "conversations": [*before, {"from": "assistant", "value": answer}]}


def _function(reward: Reward, how: How) -> Scorer:
    with _watched(reward, how.seconds, ()):
        function = load_function(reward)
    wanted = signature(function).parameters.values()
    takes_all = any(it.kind is Parameter.VAR_KEYWORD for it in wanted)
    names = {it.name for it in wanted}

    def given(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: it for name, it in values.items() if takes_all or name in names}

    def of_many(answers: Sequence[Asked]) -> Any:
        return function(**given(as_columns(answers)))

    def each(answers: Sequence[Asked]) -> list[float]:
        with _watched(reward, how.seconds, answers) as at:
            found = []
            for one in answers:
                at.answer = one
                found.append(_number(reward, function(**given(as_values(one))), one))
            return found

    def together(answers: Sequence[Asked]) -> list[float]:
        with _watched(reward, how.seconds, answers) as at:
            try:
                found = list(of_many(answers))
            except Exception:
                for at.answer in answers:  # the one by which it fails is what must be known
                    of_many([at.answer])
                at.answer = None
                raise
        if len(found) != len(answers):
            raise failed(reward, f"it gave {len(found)} rewards for {len(answers)} answers")
        return [_number(reward, it, one) for it, one in zip(found, answers, strict=True)]

    return together if "completions" in names else each


SCORERS: Mapping[RewardKind, Callable[[Reward, How], Scorer]] = {
    "exact_match": lambda *_: (
        lambda answers: [float(it.answer.strip() == it.expected.strip()) for it in answers]
    ),
    "json_valid": lambda *_: lambda answers: [float(is_json(it.answer)) for it in answers],
    "regex": _regex,
    "length": _length,
    "function": _function,
    "model": _model,
}


def as_values(one: Asked) -> dict[str, Any]:
    """What a function of one answer may ask for."""
    last = one.messages[-1]["content"] if one.messages else ""
    values = (one.answer, one.expected, last, list(one.messages))
    return dict(zip(OF_ONE_ANSWER, values, strict=True))


def as_columns(answers: Sequence[Asked]) -> dict[str, list[Any]]:
    """What a function of many answers may ask for, as TRL gives it for conversations."""
    columns = (
        [[{"role": "assistant", "content": it.answer}] for it in answers],
        [list(it.messages) for it in answers],
        [it.expected for it in answers],
        [list(it.answer_ids) for it in answers],
    )
    return dict(zip(OF_MANY_ANSWERS, columns, strict=True))


def load_function(reward: Reward) -> Callable[..., Any]:
    """The function that `FILE.py:NAME` names: the file is run, as its user asked for.

    It may import what lies beside it.
    """
    name = f"reward_{reward.file.stem}"
    spec = spec_from_file_location(name, reward.file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    if str(reward.file.parent) not in sys.path:
        sys.path.append(str(reward.file.parent))
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, reward.name)
    return function


def _number(reward: Reward, value: Any, one: Asked) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and not isinstance(value, str):
        return number
    raise failed(reward, f"it gave {value!r}, which is no finite number", one)


class _watched:
    """Errors of a user's function, named by its line and by the answer at hand."""

    def __init__(self, reward: Reward, seconds: float, answers: Sequence[Asked]) -> None:
        self.reward, self.seconds = reward, seconds
        self.answer = answers[0] if len(answers) == 1 else None
        self._limit = timed(seconds)

    def __enter__(self) -> "_watched":
        self._limit.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._limit.__exit__(None, None, None)
        if isinstance(error, TooLong):
            said = f"it took longer than {self.seconds:g} s (--reward_timeout)"
        elif isinstance(error, Exception) and not isinstance(error, RowsError):
            said = f"{type(error).__name__}: {error}"
        else:
            return
        line = line_of(self.reward.file, trace)
        raise failed(self.reward, said, self.answer, line) from error


def line_of(file: Path, trace: Any) -> int:
    """The line of this file at which an error arose; 0 if it never came there."""
    lines = [it.lineno for it in traceback.extract_tb(trace) if Path(it.filename) == file]
    return lines[-1] or 0 if lines else 0


def failed(reward: Reward, said: str, one: Asked | None = None, line: int = 0) -> RowsError:
    """The error of a reward: what it did, at which line, with which answer."""
    parts = [f"The reward {reward.name} cannot be used: {said}."]
    if reward.kind == "function":
        text = linecache.getline(str(reward.file), line).strip() if line else ""
        parts.append(f"  at {reward.file}{f':{line}' if line else ''}{f': {text}' if text else ''}")
    if one is not None:
        shown = one.answer if len(one.answer) <= SHOWN else f"{one.answer[:SHOWN]} ..."
        parts.append(f"  the answer: {shown!r}")
    return RowsError("\n".join(parts), fix=CONTINUES, rows=() if one is None else (one.row,))
