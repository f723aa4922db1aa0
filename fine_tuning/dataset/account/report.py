"""What a check has to say, put where the user wants it."""

import shutil
from pathlib import Path

from fine_tuning.disk.files import explained, written


def copy_whole(made: Path, path: Path) -> None:
    """Copy the report (docs/data.md) or the dropped rows to `path`, which then appears whole."""
    try:
        with written(path) as partial:
            shutil.copyfile(made, partial)
    except OSError as error:
        raise explained(error, path) from error
