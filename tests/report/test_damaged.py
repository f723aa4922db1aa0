"""Files of a run that somebody edited, or a disk damaged, are named with the way on."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning import report
from fine_tuning.errors import DataError
from fine_tuning.report.told.findings import finding_cards
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.codec import json_text
from fine_tuning.values.record import SCHEMA, RunRecord
from fine_tuning.values.spec import RunSpec

RECORD = RunRecord(created=0.0, command="run", settings=RunSpec())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scores.json", {"before": 1}),
        ("scores.json", {"after": {"metrics": {"loss": "low"}}}),
        ("scores.json", {"after": {"samples": [{}]}}),
        ("trainer_state.json", {"log_history": None}),
        ("trainer_state.json", {"log_history": [{}]}),
        ("trainer_state.json", {"log_history": [{"step": "x"}]}),
        ("trainer_state.json", {"log_history": [{"step": 1, "loss": []}]}),
    ],
)
def test_a_side_file_with_other_types_is_named(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(DataError, match=f"{name} cannot be read") as caught:
        report.collect(tmp_path, RECORD)
    assert "delete it" in caught.value.fix
    (tmp_path / name).unlink()  # as the message says
    report.write_report(tmp_path, report.collect(tmp_path, RECORD))


@pytest.mark.parametrize("value", [None, "x", [], {}, -1, 1e99])
def test_a_record_with_other_types_is_named(tmp_path: Path, value: Any) -> None:
    known = json.loads(json_text(RECORD, root=tmp_path)) | {"schema": SCHEMA}
    for field in ("created", "settings", "stages", "command", "versions", "status"):
        wrong = json.dumps({**known, field: value})
        (tmp_path / "run.json").write_text(wrong, encoding="utf-8")
        try:
            read = read_record(RunFolder(tmp_path))
        except DataError as error:
            assert "run.json cannot be read" in error.what and "--restart" in error.fix
        else:
            assert read is not None
            report.write_report(tmp_path, report.collect(tmp_path, read))


@pytest.mark.parametrize(
    "histogram", [None, 3, [{}], [{"rows": 1, "least": None, "most": "x"}], [{"rows": []}]]
)
def test_findings_of_any_shape_are_shown(histogram: Any) -> None:
    (card,) = finding_cards({"prompt_chars": {"histogram": histogram, "percentiles": None}})
    assert card.items
