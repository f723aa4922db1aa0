"""What is decided between the stages: what is done again, what is refused."""

from pathlib import Path

from fine_tuning.dataset.types import CheckedData
from fine_tuning.job import deciding
from fine_tuning.spec import RunSpec

DATA = CheckedData(
    format="alpaca",
    kind="chat",
    files=(),
    rows_read=9,
    rows_kept=9,
    rows_dropped=0,
    rows_path=Path("/r/rows.jsonl"),
    origins_path=Path("/r/rows.origins"),
    report_path=Path("/r/report.json"),
    rejected_path=Path("/r/rejected.jsonl"),
    fingerprint="f",
)


def test_a_model_that_makes_other_rows_overlong_splits_anew() -> None:
    """With the same cutoff the old parts stayed, and rows lost their end in the engine."""
    spec = RunSpec()
    one = {"cutoff": 512, "overlong": {}, "validation_overlong": {}}
    known = deciding.split_inputs(spec, DATA, one)
    assert known == deciding.split_inputs(spec, DATA, dict(one))
    for name in ("overlong", "validation_overlong"):
        assert known != deciding.split_inputs(spec, DATA, {**one, name: {"3": [600]}})
