"""What a run says of itself when it did not reach its end."""

import json
from pathlib import Path

import pytest

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.job import ending
from tests.job.jobs import make_job


@pytest.mark.parametrize("error", [KeyError("rows"), FileNotFoundError(2, "No such file")])
def test_a_crash_is_recorded(tmp_path: Path, error: Exception) -> None:
    """The run said "running" for ever."""
    job = make_job(tmp_path)
    job.folder.record["status"] = "running"
    with pytest.raises(type(error)), ending.recorded(job, {}):
        raise error
    known = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert known["status"] == "failed"
    assert known["failure"]["what"].startswith(type(error).__name__)
    assert str(job.folder.log) in known["failure"]["fix"]


def test_what_the_system_refused_is_no_bug_in_the_record(tmp_path: Path) -> None:
    """A missing permission stood in run.json and on the page as a bug in this program."""
    job = make_job(tmp_path)
    refused = pytest.raises(EnvironmentProblem, match="refused to write or read /data/x")
    with refused, ending.recorded(job, {}):
        raise PermissionError(13, "Permission denied", "/data/x")
    known = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert known["failure"]["why"] == "Permission denied"
