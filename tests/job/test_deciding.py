"""What is decided between the stages."""

from pathlib import Path

from fine_tuning.job import deciding
from fine_tuning.values.data import SplitData
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


def test_held_out_text_is_measured_by_its_size(tmp_path: Path) -> None:
    """One long book among short notes: by rows 10% were held out, which filled no block, and the
    training ended before its first step."""
    train, validation = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    train.write_text("a" * 9_900, encoding="utf-8")
    validation.write_text("a" * 100, encoding="utf-8")
    parts = SplitData(train_path=train, val_path=validation, train_rows=90, val_rows=10)
    rows = deciding.planned_rows(make_job(tmp_path), DATA, parts, look_of(tokens=10_000), "pt")
    assert rows.held_out_tokens == 100
    alone = SplitData(train_path=train, val_path=None, train_rows=90, val_rows=0)
    rows = deciding.planned_rows(make_job(tmp_path), DATA, alone, look_of(tokens=10_000), "pt")
    assert rows.held_out_tokens == 0
