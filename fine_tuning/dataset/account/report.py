"""What a check has to say, for the terminal, the page and `--report`."""

import shutil
from pathlib import Path

from fine_tuning.errors import DataError
from fine_tuning.files import written
from fine_tuning.values.data import CheckedData


def report_json(data: CheckedData, path: Path) -> None:
    """Write the whole report (docs/data.md) to `path`, which appears when it is complete."""
    try:
        with written(path) as partial:
            shutil.copyfile(data.report_path, partial)
    except OSError as error:
        raise DataError(
            f"the report cannot be written to {path}",
            why=error.strerror or str(error),
            fix="give --report another place",
        ) from error
