"""What a training moved: held-out rows that gained and lost, general ones that were forgotten."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import msgspec

from fine_tuning.disk.resources import FORGETTING
from fine_tuning.ledger import RowLoss
from fine_tuning.measures.compare import score_of
from fine_tuning.measures.metrics import METRICS
from fine_tuning.report.facts.page import Moved
from fine_tuning.report.told.evaluation import Place, gained_and_lost, rows_beside
from fine_tuning.values.answers.evaluation import RowsBeside
from fine_tuning.values.answers.scores import Answer, Scored, Scores

GENERAL = "Loss of general answers"


def moved(scores: Scores, ledger: Sequence[RowLoss]) -> Moved | None:
    """None if nothing was scored on both sides; `ledger` says where held-out rows came from."""
    before, after = scores.before, scores.after
    rows = _held_out(before, after, ledger)
    sides = _general(before), _general(after)
    general = _beside(sides, lambda number: f"{FORGETTING.name}:{number + 1}")
    if not rows and not general:
        return None
    gained, lost = gained_and_lost(rows)
    change = score_of(METRICS["loss"], *sides) if general else None
    return Moved(
        gained=tuple(rows[row] for row in gained),
        lost=tuple(rows[row] for row in lost),
        endless=tuple(row for row in rows if row.tuned.stopped is False),
        answered=len(rows),
        general=replace(change, name=GENERAL) if change else None,
        forgotten=tuple(
            _with_answers(general[row], row, (before, after)) for row in gained_and_lost(general)[1]
        ),
    )


def _with_answers(row: RowsBeside, number: int, sides: tuple[Scored, Scored]) -> RowsBeside:
    """A general row with what each side answers; neither right nor wrong, as there are many ways
    to say it."""
    base, tuned = (dict(side.general_answers).get(number, "") for side in sides)
    assert row.base is not None
    return replace(
        row,
        base=replace(row.base, answer=base, right=None),
        tuned=replace(row.tuned, answer=tuned, right=None),
    )


def _held_out(before: Scored, after: Scored, ledger: Sequence[RowLoss]) -> list[RowsBeside]:
    """By file and line, if every held-out row was measured: those with media are scored last."""
    known = [row for row in ledger if row.part == "validation"]
    placed = bool(known) and all(row.file and row.tokens for row in known)

    def place(number: int) -> str:
        return known[number].place if placed else f"held-out row {number + 1:,}"

    return _beside((before, after), place) if after.samples else []


def _beside(sides: tuple[Scored, Scored], place: Place) -> list[RowsBeside]:
    before, after = sides
    same = len(before.losses) == len(after.losses) > 0
    return [*rows_beside(range(len(after.losses)), place, before, after)] if same else []


def _general(scored: Scored) -> Scored:
    """One side on the general rows, as if nothing had been answered."""
    asked = general_rows()
    if len(scored.general) != len(asked):  # none, or those of another version
        return Scored()
    return Scored(losses=scored.general, samples=asked, metrics={"n": len(asked)})


@cache
def general_rows() -> tuple[Answer, ...]:
    """The general rows, not answered."""
    lines = FORGETTING.read_text(encoding="utf-8").splitlines()
    turns = [msgspec.json.decode(line)["conversations"] for line in lines]
    return tuple(
        Answer(question=it[-2]["value"], expected=it[-1]["value"], answer="") for it in turns
    )
