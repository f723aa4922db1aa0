"""The folder of a run: where its parts lie, who may become one, and who works in it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fine_tuning.disk.paths import shared_place
from fine_tuning.errors import DataError, EnvironmentProblem, RunConflict, UsageError

if sys.platform != "win32":
    import fcntl

LOOK_S = 0.2  # somebody who looks whether a run is held (`is_held`) holds it for a moment


@dataclass(frozen=True)
class RunFolder:
    """The places in the folder of one run."""

    path: Path

    @property
    def record(self) -> Path:
        """All that is known of the run (values/record.py)."""
        return self.path / "run.json"

    @property
    def dataset(self) -> Path:
        """Canonical rows, dataset_info.json, report.json, rejected.jsonl."""
        return self.path / "dataset"

    @property
    def train_yaml(self) -> Path:
        """What LLaMA-Factory is given."""
        return self.path / "train.yaml"

    @property
    def log(self) -> Path:
        """The engine's whole output."""
        return self.path / "logs" / "engine.log"

    @property
    def scores(self) -> Path:
        """Metrics and answers before and after training."""
        return self.path / "scores.json"

    @property
    def stop_file(self) -> Path:
        """Its appearance asks the training to stop after the step."""
        return self.path / "logs" / "stop"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; RunConflict if one is at work here.

        The system releases the lock of a process that is killed.
        """
        make_directory(self.path / "logs", "output_dir")
        lock = FileLock(self.path / "logs" / "lock")
        try:
            lock.acquire(timeout=LOOK_S, poll_interval=0.02)
        except Timeout:
            raise RunConflict(
                f"Another process is working in {self.path}.",
                fix="wait until it has finished, or give another --output_dir",
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def kept_if_used(self) -> Iterator[None]:
        """Take the folder away again if it is made in the block, and nothing came of it: a command
        that was refused, by a hub too, leaves nothing behind. What an error names stays."""
        made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            yield
        except BaseException as error:
            if made and str(self.path) not in str(error) and not self._has_results():
                shutil.rmtree(self.path, ignore_errors=True)
                with suppress(OSError):  # somebody else put something there
                    for place in made[1:]:
                        place.rmdir()
            raise

    def _has_results(self) -> bool:
        """Whether it holds more than its record and the log."""
        return any(
            file.is_file() and file.parent.name != "logs" and file != self.record
            for file in self.path.rglob("*")
        )

    @property
    def is_held(self) -> bool:
        """Whether a process is at work here, as far as this machine can tell. Nothing is made."""
        place = self.path / "logs" / "lock"
        try:
            descriptor = os.open(place, os.O_RDONLY)
        except OSError:
            return False
        try:
            if sys.platform == "win32":
                FileLock(place).acquire(timeout=0).lock.release()
            else:  # also a run of somebody else's, whose lock may only be read
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (OSError, Timeout):
            return True
        finally:
            os.close(descriptor)
        return False


def make_directory(path: Path, flag: str) -> None:
    """Make the directory that a flag names; EnvironmentProblem if it cannot be, or not be used."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        why = "" if os.access(path, os.W_OK | os.X_OK) else "nothing may be written in it"
    except OSError as error:
        why = str(error.strerror or error)
    if why:
        raise EnvironmentProblem(
            f"--{flag} {path} cannot be used.", why=why, fix="name a directory that can be written"
        )


def require_own_folder(path: Path) -> None:
    """Raise UsageError for a place that cannot become a run's folder; nothing is touched.

    A run replaces `dataset/` and continues from `checkpoint-*`: those of somebody else would be
    lost, or trained further.
    """
    file = next((part for part in (path, *path.parents) if part.exists()), path)
    if not file.is_dir():
        raise UsageError(
            f"--output_dir {path} cannot be made: {file} is a file.",
            fix="name a directory that is new or empty",
        )
    if place := shared_place(path):
        raise UsageError(
            f"--output_dir {path} is {place}. Nothing was touched.",
            fix=f"name a directory for the run, for example {path / 'run'}",
        )
    for part in ("dataset", "dataset.checking", "logs"):
        if (path / part).is_symlink():
            raise DataError(
                f"{path / part} is a link to {(path / part).readlink()}.",
                why="a run replaces this folder, and what it leads to may be somebody else's",
                fix="put a folder in its place, or give another --output_dir (which itself may be "
                "a link)",
            )
    if not path.is_dir() or (path / "run.json").exists():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if not _harmless(entry))
    if foreign:
        names = ", ".join(foreign[:4]) + (" ..." if len(foreign) > 4 else "")
        raise UsageError(
            f"--output_dir {path} holds files, but no run.json: {names}. Nothing was touched.",
            fix="name a directory that is new or empty, for example "
            f"{path / 'run'}, or move these files away",
        )


def _harmless(entry: Path) -> bool:
    """What a run that was killed before its first record leaves, and what is never written to."""
    if entry.name == "logs":
        return {file.name for file in entry.iterdir()} <= {"lock", "engine.log", "stop"}
    return entry.name.startswith((".", "node-")) or entry.name == "lost+found"


def set_aside(path: Path) -> Path | None:
    """Move an old run out of the way; nothing is deleted."""
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside
