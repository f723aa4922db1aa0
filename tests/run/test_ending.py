"""What a run says of itself when it did not reach its end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.run.ending import recorded
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.run.run import Run
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import RunSpec


def run_in(path: Path) -> Run:
    record = RunRecord(created=0.0, command="", settings=RunSpec(output_dir=path))
    screen: Any = SimpleNamespace()
    return Run(folder=RunFolder(path), screen=screen, record=record, accepted=True)


@pytest.mark.parametrize("error", [KeyError("rows"), FileNotFoundError(2, "No such file")])
def test_a_crash_is_recorded(tmp_path: Path, error: Exception) -> None:
    """The run said "running" for ever."""
    run = run_in(tmp_path)
    with pytest.raises(type(error)), recorded(run, lambda place, record: place):
        raise error
    known = read_record(run.folder)
    assert known is not None and known.status == "failed"
    assert known.failure is not None
    assert known.failure.what.startswith(type(error).__name__)
    assert str(run.folder.log) in known.failure.fix


def test_what_the_system_refused_is_no_bug_in_the_record(tmp_path: Path) -> None:
    """A missing permission stood in run.json and on the page as a bug in this program."""
    run = run_in(tmp_path)
    refused = pytest.raises(EnvironmentProblem, match="refused to write or read /data/x")
    with refused, recorded(run, lambda place, record: place):
        raise PermissionError(13, "Permission denied", "/data/x")
    known = read_record(run.folder)
    assert known is not None and known.failure is not None
    assert known.failure.why == "Permission denied"
