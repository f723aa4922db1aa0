"""The ledger of the losses of rows: kept, read again, and what it says of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning import ledger
from fine_tuning.errors import DataError
from fine_tuning.ledger import RowLoss


def row(number: int, before: float | None, after: float | None, **known: object) -> RowLoss:
    made = RowLoss(
        part="train",
        row=number,
        kept=number,
        file="/d/行.jsonl",
        line=number + 1,
        tokens=10,
        before=before,
        after=after,
        question=f"q{number}",
    )
    return replace(made, **known)  # type: ignore[arg-type]  # names of its fields


LEARNED = [row(i, 3.0 + i / 100, 1.0 + i / 100) for i in range(20)]


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [*LEARNED, row(20, None, 2.0, line=None, kept=None, part="validation")]
    ledger.write(tmp_path, rows)
    assert ledger.read(tmp_path) == rows
    assert ledger.read(tmp_path / "elsewhere") == []


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / ledger.LEDGER).write_bytes(b"PAR1 broken")
    with pytest.raises(DataError, match=r"ledger\.parquet cannot be read"):
        ledger.read(tmp_path)


def test_a_row_whose_loss_hardly_fell_was_never_learned() -> None:
    stubborn = row(20, 4.0, 3.9)
    known_before = row(21, 0.10, 0.099)  # there was nothing to learn
    found = ledger.findings([*LEARNED, stubborn, known_before])
    assert [it.row for it in found.never_learned] == [stubborn]
    assert found.made_worse == () and found.learned
    least = [it.row.row for it in found.learned_least]
    assert least == [*range(19, 9, -1)], "those above the median, the least learned first"


def test_rows_that_became_worse_are_named_also_held_out_ones() -> None:
    worse = row(20, 1.0, 2.0)
    worst = row(0, 1.0, 3.0, part="validation")
    noise = row(21, 0.001, 0.02)
    found = ledger.findings([*LEARNED, worse, worst, noise])
    assert [it.row for it in found.made_worse] == [worst, worse]
    assert found.never_learned == (), "one row is named once"


def test_numbers_that_are_not_finite_and_rows_without_any_are_told_apart() -> None:
    broken, media = row(20, 2.0, None), row(21, None, None, tokens=0)
    found = ledger.findings([*LEARNED, broken, media])
    assert [it.row for it in found.not_finite] == [broken]
    assert (found.measured, found.unmeasured) == (20, 1)


def test_a_training_that_changed_nothing_names_no_row_as_never_learned() -> None:
    found = ledger.findings([row(i, 3.0, 2.99) for i in range(20)])
    assert not found.learned and found.doubtful == ()
    assert ledger.findings([]).doubtful == ()
