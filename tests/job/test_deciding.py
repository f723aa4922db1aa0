"""What is decided between the stages."""

from pathlib import Path

import pytest

from fine_tuning.dataset.types import SplitData
from fine_tuning.errors import DataError
from fine_tuning.job import deciding
from tests.dataset.canonical_files import chat, checked_data
from tests.job.jobs import DATA, make_job
from tests.looks import look_of


def test_the_plan_counts_no_more_rows_than_max_samples(tmp_path: Path) -> None:
    """Steps, intervals and accumulation were those of all rows."""
    parts = SplitData(train_path=tmp_path, val_path=tmp_path, train_rows=900, val_rows=100)
    look = look_of(tokens=10_000)
    for given, (train, validation, tokens) in {
        50: (50, 50, 1_000),
        200: (200, 100, 3_000),
        5_000: (900, 100, 10_000),
    }.items():
        job = make_job(tmp_path, engine_args={"max_samples": given})
        rows = deciding.planned_rows(job, DATA, parts, look, "sft")
        assert (rows.train, rows.validation, rows.tokens) == (train, validation, tokens)
    rows = deciding.planned_rows(make_job(tmp_path), DATA, parts, look, "sft")
    assert (rows.train, rows.validation) == (900, 100)


def test_media_that_cannot_be_read_are_named_by_their_lines(tmp_path: Path) -> None:
    data = checked_data(tmp_path, [chat(f"Hello {i}", "Hi") for i in range(12)])
    deciding.refuse_unreadable(data, look_of())
    unreadable = {str(row): f"{row}.png: cut off" for row in (2, 10)}
    with pytest.raises(DataError, match=r"2 rows have media .*\n.*:3: 2\.png.*\n.*:11: 10\.png"):
        deciding.refuse_unreadable(data, look_of(unreadable=unreadable))
