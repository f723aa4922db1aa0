"""The ledger of a training: which rows' losses are kept, and where each of them came from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fine_tuning import ledger
from fine_tuning.dataset.insight.rows import Row, decode_row, read_lines, read_origins
from fine_tuning.disk import files
from fine_tuning.ledger import BEGINNING, MOST_ROWS, Part, RowLoss
from fine_tuning.stages.planned import Planned
from fine_tuning.units import counted
from fine_tuning.values.data import NUMBERS, CheckedData, SplitData
from fine_tuning.values.tables.objectives import OBJECTIVES

SPIKES = "spikes.json"  # beside the losses, by the worker (training/callbacks/spikes.py)
RowsOf = Callable[[Sequence[int]], Iterable[int]]
ANEW = "delete it, and no ledger is kept of this training"


def no_ledger(planned: Planned) -> str:
    """Why the losses of the rows are not kept; empty if they are."""
    spec, parts = planned.spec, planned.parts
    rows = parts.train_rows + parts.val_rows
    if spec.ledger == "off":
        return "--ledger off"
    objective = OBJECTIVES[planned.stage]
    if objective.reward is not None or objective.scored not in ("answers", "text"):
        return "where preferences or rewards are trained, the loss of an answer says little"
    if planned.plan.chosen.world > 1 or planned.settings.splits_the_model:
        return "the model is trained in processes of its own"
    if spec.engine_args.get("max_samples"):
        return "--max_samples leaves rows out of the training"
    if spec.ledger == "auto" and rows > MOST_ROWS:
        return f"{rows:,} rows are more than {MOST_ROWS:,} (--ledger on keeps one)"
    return ""


def write_ledger(
    run_dir: Path,
    data: CheckedData,
    parts: SplitData,
    losses: Path,
    rows_of: RowsOf = tuple,
) -> Path | None:
    """Write the ledger of a run from the losses that its worker kept; None if it kept none, and
    then no earlier one stays. The losses stay: a training that goes on needs those from before.
    `rows_of` gives the rows of sequences that were trained."""
    known = files.read_json(losses, ANEW)
    before, after = known.get("before"), known.get("after")
    if before is None or after is None:
        remove_ledger(run_dir)
        return None
    spikes = spikes_of(losses.with_name(SPIKES), rows_of)
    rows = [
        replace(row, spike=spikes.get(row.row) if part == "train" else None)
        for part, path in part_files(parts)
        for row in _of_part(part, path, data, before.get(part, []), after.get(part, []))
    ]
    return ledger.write(run_dir, rows)


def spikes_of(kept: Path, rows_of: RowsOf) -> dict[int, int]:
    """The training rows of steps with a spike, and the first such step of each."""
    found: dict[int, int] = {}
    for spike in files.read_json(kept, ANEW).get("spikes", []):
        for row in rows_of(spike["sequences"]):
            found.setdefault(row, spike["step"])
    return found


def remove_ledger(run_dir: Path) -> None:
    """Remove the ledger of an earlier end of this training."""
    (run_dir / ledger.LEDGER).unlink(missing_ok=True)


def part_files(parts: SplitData) -> Iterator[tuple[Part, Path]]:
    """The files that the engine reads, by their parts."""
    yield "train", parts.train_path
    if parts.val_path is not None:
        yield "validation", parts.val_path


def _of_part(
    part: Part,
    path: Path,
    data: CheckedData,
    before: Sequence[tuple[float | None, int]],
    after: Sequence[tuple[float | None, int]],
) -> Iterator[RowLoss]:
    numbers = path.with_suffix(NUMBERS)
    kept = np.fromfile(numbers, "<u4").tolist() if numbers.exists() else []
    own = data.validation_origins_path if part == "validation" else None
    origins = read_origins(own or data.origins_path, [file.path for file in data.files])
    pairs = zip(read_lines(path), before, after, strict=True)
    for number, (line, (then, tokens), (now, _)) in enumerate(pairs):
        place = origins.of(kept[number]) if number < len(kept) else ("", None)
        question, answer = beginnings(decode_row(line))
        yield RowLoss(
            part=part,
            row=number,
            kept=kept[number] if number < len(kept) else None,
            file=place[0],
            line=place[1],
            tokens=tokens,
            before=None if then is None or not tokens else then / tokens,
            after=None if now is None or not tokens else now / tokens,
            question=question,
            answer=answer,
        )


def beginnings(row: Row) -> tuple[str, str]:
    """How the last question of a row and its answer begin; of a text it is the text alone."""
    turns = row.conversations
    if row.is_text:
        return turns[0].value[:BEGINNING], ""
    asked = turns[-2].value if len(turns) > 1 else ""
    return asked[:BEGINNING], turns[-1].value[:BEGINNING]


def ledger_line(run_dir: Path) -> str:
    """What the ledger of a run says, in one line; empty without one, or if no row stands out."""
    found = ledger.findings(ledger.read(run_dir))
    told = [
        f"{counted(len(rows), 'row')} {what}"
        for rows, what in (
            (found.not_finite, "without a finite loss"),
            (found.behind_spikes, "behind a spike of the loss"),
            (found.never_learned, "never learned"),
            (found.made_worse, "made worse"),
        )
        if rows
    ]
    return f"Rows that stand out: {', '.join(told)} (`validate --ledger RUN`)." if told else ""
