"""What `eval` finds, as it is told to programs."""

from dataclasses import dataclass
from typing import Annotated, Literal

Verdict = Literal["better", "worse", "unsure", "same", "none"]


@dataclass(frozen=True, kw_only=True)
class MetricFound:
    """One metric of a set of rows."""

    name: Annotated[str, "as a gate names it"]
    title: Annotated[str, "the same for people"]
    base: Annotated[float | None, "of the base model; null: there is none, or it is not finite"]
    tuned: Annotated[float | None, "of the model that is scored"]
    interval: Annotated[
        tuple[float, float] | None, "95%, of tuned - base, told by the same rows on both sides"
    ]
    moved: Annotated[
        tuple[int, int] | None, "of a share: rows that only the tuned model has right, and wrong"
    ]
    verdict: Annotated[
        Verdict,
        "unsure: the difference may be chance; same: there is none; none: there is nothing to "
        "compare, or it is neither better nor worse",
    ]
    says: Annotated[str, "the same as a sentence"]
    signature: Annotated[str, "what else decides the value, in the words of sacrebleu"] = ""


@dataclass(frozen=True, kw_only=True)
class RowFound:
    """One row as one of the models answered it."""

    answer: Annotated[str, "the text; of plain text empty"]
    right: Annotated[bool | None, "whether it is the expected one; null: nothing is expected"]
    stopped: Annotated[bool | None, "whether the model ended it by itself"]
    tokens: Annotated[int | None, "of the answer"]
    loss: Annotated[float | None, "of the expected answer, in nats per token"]


@dataclass(frozen=True, kw_only=True)
class RowsBeside:
    """One row, with both answers."""

    place: Annotated[str, "file and line"]
    question: Annotated[str, "what was asked"]
    expected: Annotated[str, "the expected answer"]
    base: Annotated[RowFound | None, "null: there is no base model"]
    tuned: Annotated[RowFound, "of the model that is scored"]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A row that was not scored."""

    place: Annotated[str, "file and line"]
    why: Annotated[str, "the reason"]


@dataclass(frozen=True, kw_only=True)
class SetFound:
    """A set of rows, scored. The numbers of rows count from 0 in `rows`."""

    name: Annotated[Literal["rows", "forgetting"], "forgetting: the general rows that come along"]
    source: Annotated[str, "the file"]
    count: Annotated[int, "rows that were scored"]
    left_out: Annotated[tuple[LeftOut, ...], "rows that were not"]
    metrics: Annotated[tuple[MetricFound, ...], "in the order of the table"]
    says: Annotated[str, "one sentence: whether there is a difference"]
    gained: Annotated[tuple[int, ...], "rows that gained most, the first most; at most 5"]
    lost: Annotated[tuple[int, ...], "rows that lost most"]
    endless: Annotated[tuple[int, ...], "rows whose answer the scored model did not end"]
    rows: Annotated[tuple[RowsBeside, ...], "all rows"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A line of a gate."""

    name: Annotated[str, "metric and bound"]
    holds: Annotated[bool, "whether it does"]
    says: Annotated[str, "what was found, and what was wanted"]


@dataclass(frozen=True, kw_only=True)
class TaskFound:
    """One number of a task of lm-evaluation-harness."""

    task: Annotated[str, "its name there"]
    metric: Annotated[str, "the metric, with its filter in brackets"]
    base: Annotated[float | None, "of the base model"]
    tuned: Annotated[float, "of the model that is scored"]
    error: Annotated[float | None, "standard error of the tuned model's value"]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A model on rows, beside the model that it was made from."""

    base: Annotated[str | None, "the base model; null: only one model is scored"]
    tuned: Annotated[str, "the run, adapter or model that is scored"]
    sets: Annotated[tuple[SetFound, ...], "the rows, and what came along to see what is forgotten"]
    tasks: Annotated[tuple[TaskFound, ...], "what --tasks found"] = ()
    gate: Annotated[tuple[Held, ...], "lines of --gate"] = ()
    passed: Annotated[bool, "whether all of them hold"] = True
