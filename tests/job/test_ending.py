"""What a run says of itself when it did not reach its end."""

import json
from pathlib import Path

import pytest

from fine_tuning.job import ending
from tests.job.jobs import make_job


@pytest.mark.parametrize("error", [KeyError("rows"), PermissionError(13, "Permission denied")])
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
