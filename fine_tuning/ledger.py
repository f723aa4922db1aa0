"""The loss of every row before and after a training: `ledger.parquet` of a run, and what it says.

One line a row: its part (train, validation), its number there, the file and 1-based line that it
came from, the tokens of it that are trained, its loss per token in nats before and after (null: it
was not measured, or is not finite), how its question and answer begin, and the step of a spike of
the loss that trained on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from fine_tuning.disk import files
from fine_tuning.errors import DataError

LEDGER = "ledger.parquet"
MOST_ROWS = 5000  # of which a ledger is kept unasked
BEGINNING = 160  # characters of a question and of an answer
LEARNED_LESS = 0.25  # of what the median training row learned
LEAST = 10  # rows that are named because they learned least, though they did learn
LEAST_LEARNED = 0.05  # share by which the loss of the median training row must have fallen
WORSE = 1.05  # times the loss before
WORSE_NATS = 0.05  # per token: less is noise, also where a loss was near zero

Part = Literal["train", "validation"]
Doubt = Literal["not finite", "behind a spike", "never learned", "made worse", "learned least"]


@dataclass(frozen=True, kw_only=True)
class RowLoss:
    """One row of the ledger."""

    part: Annotated[Part, "trained on, or held out"]
    row: Annotated[int, "its number in this part, from 0"]
    kept: Annotated[int | None, "its number among the usable rows; null: not known"] = None
    file: Annotated[str, "where it came from"] = ""
    line: Annotated[int | None, "its 1-based line there; null: not known"] = None
    tokens: Annotated[int, "of it that are trained"] = 0
    before: Annotated[float | None, "loss per token in nats, before the training"] = None
    after: Annotated[float | None, "the same after it"] = None
    question: Annotated[str, "how it begins"] = ""
    answer: Annotated[str, "how the last one begins"] = ""
    spike: Annotated[int | None, "a step whose loss shot up and that trained on it"] = None

    @property
    def place(self) -> str:
        """File and line, or which row of its part it is."""
        return f"{self.file}:{self.line}" if self.file else f"{self.part} row {self.row}"


@dataclass(frozen=True, kw_only=True)
class Doubtful:
    """A row that somebody should look at."""

    why: Annotated[
        Doubt,
        "behind a spike: the step that trained on it had a loss far above the steps before; "
        "never learned: its loss hardly fell, as that of others did; made worse: "
        "it rose; learned least: it fell, but least of all",
    ]
    row: Annotated[RowLoss, "the row"]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a ledger says: rows by their doubt, the worst first; those behind a spike of the loss by
    the step, and there the ones whose loss was the highest first."""

    measured: int
    unmeasured: int  # rows with media, and those of which nothing is trained
    never_learned: tuple[Doubtful, ...] = ()
    made_worse: tuple[Doubtful, ...] = ()
    not_finite: tuple[Doubtful, ...] = ()
    learned_least: tuple[Doubtful, ...] = ()
    behind_spikes: tuple[Doubtful, ...] = ()
    learned: bool = True  # whether the training changed its rows enough to tell them apart

    @property
    def doubtful(self) -> tuple[Doubtful, ...]:
        """All of them."""
        return (
            *self.not_finite,
            *self.behind_spikes,
            *self.never_learned,
            *self.made_worse,
            *self.learned_least,
        )


def write(run_dir: Path, rows: Sequence[RowLoss]) -> Path:
    """Write the ledger of a run; gives its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "part": pa.array([row.part for row in rows], pa.string()),
        "row": pa.array([row.row for row in rows], pa.uint32()),
        "kept": pa.array([row.kept for row in rows], pa.uint32()),
        "file": pa.array([row.file for row in rows], pa.string()),
        "line": pa.array([row.line for row in rows], pa.uint64()),
        "tokens": pa.array([row.tokens for row in rows], pa.uint32()),
        "before": pa.array([row.before for row in rows], pa.float64()),
        "after": pa.array([row.after for row in rows], pa.float64()),
        "question": pa.array([row.question for row in rows], pa.string()),
        "answer": pa.array([row.answer for row in rows], pa.string()),
        "spike": pa.array([row.spike for row in rows], pa.uint32()),
    }
    path = run_dir / LEDGER
    with files.written(path) as partial:
        pq.write_table(pa.table(columns), partial)
    return path


def read(run_dir: Path) -> list[RowLoss]:
    """The ledger of a run, empty if it has none. Raises DataError for a file that is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run_dir / LEDGER
    if not path.exists():
        return []
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would import pandas
            return [RowLoss(**row) for row in file.read().to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", fix="delete it", where=(str(path),)
        ) from error


def findings(rows: Sequence[RowLoss]) -> Findings:
    """Which rows stand out.

    A training row was never learned if its loss fell by less than a quarter of the share by which
    that of the median training row did, and it is now above the median: a row that was well known
    before has nothing to learn. Of the others that are above the median, those whose loss fell
    least are named as such: wrong answers are learned late (Arpit et al., "A Closer Look at
    Memorization in Deep Networks", ICML 2017). If the training changed the median row by less than
    5%, none is named. A row, also a held-out one, was made worse if its loss rose by more than 5%
    and 0.05 nats per token.
    """
    import numpy as np

    whole = [row for row in rows if row.before is not None and row.after is not None]
    lost = [row for row in rows if row.tokens and (row.before is None or row.after is None)]
    found = Findings(
        measured=len(whole),
        unmeasured=sum(not row.tokens for row in rows),
        not_finite=tuple(Doubtful(why="not finite", row=row) for row in lost),
        behind_spikes=tuple(
            Doubtful(why="behind a spike", row=row)
            for row in sorted(
                (row for row in rows if row.spike is not None),
                key=lambda row: (row.spike, -_before(row)),
            )
        ),
        made_worse=tuple(
            Doubtful(why="made worse", row=row)
            for row in sorted(whole, key=lambda row: _rise(row), reverse=True)
            if _after(row) > WORSE * _before(row) and _rise(row) > WORSE_NATS
        ),
    )
    trained = [row for row in whole if row.part == "train"]
    if not trained:
        return found
    before, after = (np.array([get(row) for row in trained]) for get in (_before, _after))
    left = after / np.maximum(before, np.finfo(float).tiny)  # the share of the loss that is left
    middle = float(np.median(1 - left))
    if middle < LEAST_LEARNED:
        return replace(found, learned=False)
    worse = {id(it.row) for it in found.made_worse}
    high = float(np.median(after))
    order = [int(i) for i in np.argsort(-left, kind="stable") if after[i] > high]
    order = [i for i in order if id(trained[i]) not in worse]
    never = [i for i in order if 1 - left[i] < LEARNED_LESS * middle]
    least = order[len(never) : len(never) + LEAST]
    return replace(
        found,
        never_learned=tuple(Doubtful(why="never learned", row=trained[i]) for i in never),
        learned_least=tuple(Doubtful(why="learned least", row=trained[i]) for i in least),
    )


def _before(row: RowLoss) -> float:
    return row.before or 0.0


def _after(row: RowLoss) -> float:
    return row.after or 0.0


def _rise(row: RowLoss) -> float:
    return _after(row) - _before(row)
