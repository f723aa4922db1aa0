"""Where a command's --report is written: never over a file that it did not write itself."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fine_tuning.dataset.sources.source import is_data_name
from fine_tuning.disk import files
from fine_tuning.disk.paths import at_home
from fine_tuning.errors import DataError, UsageError

_ELSEWHERE = "give --report a new file name"
_OUR_REPORT = b'{"format":"'
_OUR_PAGE = b'<meta name="generator" content="data page">'


def refuse_report_place(report: Path, dataset_paths: Sequence[str]) -> None:
    """Raises UsageError if the report or its page would replace a file that is not ours.

    A former report is replaced. A report in a dataset's directory would be read as data by the
    next check, so that is refused too.
    """
    page = report.with_suffix(".html")
    if report == page:
        raise UsageError(
            f"--report {report}: the report is JSON, and its page takes the name {page.name}.",
            fix=f"--report {report.with_suffix('.json')} writes both",
        )
    for place, ours in ((report, _OUR_REPORT), (page, _OUR_PAGE)):
        if why := _taken(place, ours, dataset_paths):
            raise UsageError(f"--report {report}: {why}.", fix=_ELSEWHERE)
    for name in dataset_paths:
        folder = at_home(name)
        inside = folder.is_dir() and folder.resolve() in report.resolve().parents
        if inside and is_data_name(report.name):
            raise UsageError(
                f"--report {report}: the next check of {name} would read it as data.",
                fix="put the report outside the dataset's directory",
            )


def refuse_taken(report: Path, ours: bytes, dataset_paths: Sequence[str]) -> None:
    """Raises UsageError for a report in the place of anything but a file with the mark `ours`."""
    if why := _taken(report, ours, dataset_paths):
        raise UsageError(f"--report {report}: {why}.", fix=_ELSEWHERE)


def _taken(place: Path, ours: bytes, dataset_paths: Sequence[str]) -> str:
    """Why a place is not free, or nothing."""
    datasets = [path for path in map(at_home, dataset_paths) if path.exists()]
    if place.exists() and any(map(place.samefile, datasets)):
        return f"{place} is the dataset itself"
    if place.is_dir():
        return f"{place} is a directory; a file's name is needed"
    if not place.exists():
        return ""
    if not place.is_file():
        return f"{place} is a device, pipe or socket"
    with place.open("rb") as file:
        written = file.read(1 << 20)
    if written and not (written.startswith(ours) if ours == _OUR_REPORT else ours in written):
        return f"{place} exists and is no report; it is not overwritten"
    return ""


@contextmanager
def workplace(report: Path | None) -> Iterator[Path]:
    """Where the check writes: beside the report, on a disk that the user chose; gone at the end.

    Raises EnvironmentProblem if nothing can be written there, DataError if another check writes the
    same report.
    """
    if report is None:
        with (
            tempfile.TemporaryDirectory(prefix="validate-") as folder,
            files.refusals_explained(Path(folder)),
        ):
            yield Path(folder)
        return
    place = report.parent / f".{report.name}.work"
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise DataError(
            f"another check is writing {report}", fix=f"wait for it, or {_ELSEWHERE}"
        ) from None
    except OSError as error:
        raise files.explained(error, report) from error
    try:
        with files.refusals_explained(place):
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()
