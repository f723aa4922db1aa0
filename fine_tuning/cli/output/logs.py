"""Where a command that belongs to no run leaves its logs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fine_tuning.errors import UsageError


@contextmanager
def log_folder(command: str) -> Iterator[Path]:
    """A folder for logs, and what else is needed meanwhile; kept if something fails that they
    explain: the message names it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{command}-"))
    try:
        yield folder
    except UsageError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
