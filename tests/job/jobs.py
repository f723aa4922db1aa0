"""A job without a command, for tests of what is decided between the stages."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fine_tuning.job.opening import Job
from fine_tuning.run_folder import RunFolder
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import RunSpec

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


def make_job(folder: Path, *, said: Callable[[str], Any] = str, **wishes: Any) -> Job:
    """A job in this folder; what it says and warns of goes to `said`."""
    spec = RunSpec(**{"model_name_or_path": "/m", "output_dir": folder, **wishes})
    screen: Any = SimpleNamespace(say=said, warn=said)  # no more is used
    return Job(
        spec=spec,
        sources={},
        screen=screen,
        command="",
        folder=RunFolder(folder),
        model="/m",
    )
