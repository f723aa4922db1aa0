"""A report never replaces a file that is not a report."""

import errno
import json
import os
from pathlib import Path

import pytest

from fine_tuning.cli.output.report_place import refuse_report_place, workplace
from fine_tuning.errors import DataError, EnvironmentProblem, UsageError


def test_the_dataset_is_not_overwritten_by_its_report(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match="is the dataset itself"):
        refuse_report_place(data, (str(data),))


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    notes = tmp_path / "notes.json"
    notes.write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is no report"):
        refuse_report_place(notes, ("d.json",))


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    text = json.dumps({"format": "alpaca", "files": []}, separators=(",", ":"))
    report.write_text(text, encoding="utf-8")
    refuse_report_place(report, ("d.json",))


def test_a_report_inside_the_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would read it as data"):
        refuse_report_place(tmp_path / "r.json", (str(tmp_path),))


def test_a_full_disk_names_the_place_that_is_full(tmp_path: Path) -> None:
    full = pytest.raises(EnvironmentProblem, match="The disk is full")
    with full as caught, workplace(tmp_path / "r.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(tmp_path / ".r.json.work") in caught.value.why


def test_two_checks_do_not_write_one_report_at_once(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    again = pytest.raises(DataError, match="another check is writing")
    with workplace(report), again, workplace(report):
        pass


def test_a_pipe_is_not_replaced_by_a_report(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is a device, pipe or socket"):
        refuse_report_place(pipe, ("d.json",))
