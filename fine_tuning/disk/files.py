"""Files and directories that are written whole or not at all, and why the system refused one.

Whatever is being written lies beside its place under a hidden name, and takes the place in one
step. What a killed process left of it is removed by the next one that writes there; what a living
process is still writing is never touched: a lock of the system tells them apart, which ends with
the process, also in another container or on another machine of a shared disk.
"""

import errno
import glob
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeGuard

from fine_tuning.errors import DataError, EnvironmentProblem, RunConflict, UsageError

if sys.platform != "win32":
    import fcntl

FULL = 64 * 1024  # bytes: with less, not even a log can say that the disk is full
DISK_FULL = "The disk is full."
FREE_SPACE = "free space, or name a place on another disk, and repeat the command"
_PERMISSION = "give yourself the permission, or name another place"
# What a user can do about it; every other error of the system is a bug of ours until proved.
REFUSALS: Mapping[int, str] = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "name a shorter path",
}
_NAME = 40  # characters of a file's name that its hidden name repeats; names end at 255 bytes


@contextmanager
def written(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """The path to write to; the file takes its name when the block ends, or is gone if it fails.

    An older file stays whole until then, and its mode stays; a link stays a link. `durable`: also
    a power cut right afterwards does not lose it.
    """
    target = target.resolve() if target.is_symlink() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(target)
    partial, alive = _partial_of(target)
    try:
        try:
            yield partial
            if target.exists():
                partial.chmod(target.stat().st_mode & 0o777)
            if durable:
                _flush(partial)
        finally:
            os.close(alive)  # Windows moves no open file
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _flush(target.parent)


def write_text(target: Path, text: str, *, durable: bool = False) -> None:
    """Write the file, in UTF-8 and with its line ends as they are, whole or not at all."""
    with written(target, durable=durable) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def free_name(path: Path) -> Path:
    """The first name with a number that does not exist: rejected.1.jsonl."""
    numbers = (path.with_suffix(f".{number}{path.suffix}") for number in range(1, 10_000))
    return next(name for name in numbers if not name.exists())


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """The object in a file of ours, empty if there is no file.

    Raises DataError, with `fix`, if it was damaged or edited so that it is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, not an object")
        return value
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix=fix, where=(str(path),)) from error


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A hidden folder in this one for what is needed meanwhile; what killed processes left of such
    is removed, for it may be as large as a model."""
    if sys.platform != "win32":
        for lock in folder.glob(".*.between/lock"):
            with suppress(OSError), lock.open("rb") as held:  # locked, or gone meanwhile
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".between") as made,
        Path(made, "lock").open("wb") as held,
    ):
        if sys.platform != "win32":
            with suppress(OSError):  # a disk without locks, where nothing is removed either
                fcntl.flock(held, fcntl.LOCK_EX)
        yield Path(made)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """The directory to write to; it takes its name when the block ends, or is gone if it fails.

    Raises UsageError if the place is in use, RunConflict if another process writes there. Also a
    power cut right afterwards does not lose it.
    """
    target = target.resolve() if target.is_symlink() else target  # a link stays a link
    with reserved(target):
        require_empty(target)
        partial = target.parent / f".{target.name}.partial"
        if partial.exists():
            shutil.rmtree(partial)  # of a killed process: a living one would hold the place
        partial.mkdir()
        try:
            yield partial
            for folder, _, files in os.walk(partial):
                for name in files:
                    _flush(Path(folder, name))
                _flush(Path(folder))
            if target.exists():
                target.rmdir()
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _flush(target.parent)


@contextmanager
def reserved(target: Path | None) -> Iterator[None]:
    """Keep other processes from writing this directory; RunConflict if one does.

    May be nested in one process. What was made for the lock goes with it.
    """
    if target is None:
        yield
        return
    from filelock import FileLock, Timeout  # 0.03 s that `--help` need not pay

    target = target.resolve()
    missing = [part for part in target.parents if not part.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.parent / f".{target.name}.lock"
    lock = FileLock(place, is_singleton=True)
    nested = lock.is_locked
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunConflict(
            f"Another process is writing {target}; nothing in it was touched.",
            fix="wait until it has finished, or name another directory",
        ) from None
    try:
        yield
    finally:
        if not nested:
            # while it is held: whoever waits for it sees that it has gone, and makes another
            with suppress(OSError):  # Windows removes no open file
                place.unlink()
        lock.release()
        for folder in missing:
            with suppress(OSError):  # something was written there
                folder.rmdir()


def require_writable(target: Path, flag: str) -> None:
    """Raise before the work for a place in which nothing may be written: UsageError if a file
    stands in the way, EnvironmentProblem for a folder or a disk that takes nothing."""
    above = next(part for part in (target, *target.absolute().parents) if part.exists())
    if not above.is_dir():
        raise UsageError(
            f"{flag}{target} cannot be made: {above} is a file.",
            fix="name a directory that is new or empty",
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise EnvironmentProblem(
            f"{flag}{target} cannot be made: nothing may be written in {above}.",
            fix="give yourself the permission, or name another place",
        )


def require_empty(target: Path, flag: str = "") -> None:
    """Raise UsageError if there is something in the directory (that `flag` names).

    Left-over shards of another export would be loaded together with the new ones.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{flag}{target} is not empty; nothing in it was touched.",
            fix="give another directory, or empty this one",
        )


def _partial_of(target: Path) -> tuple[Path, int]:
    """A new hidden file beside the target, and the descriptor that holds its lock."""
    while True:
        partial = target.with_name(f".{target.name[:_NAME]}.{secrets.token_hex(4)}.partial")
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if sys.platform != "win32":  # which removes no open file: a lock of its own kind
            with suppress(OSError):  # a disk without locks, where nothing is removed either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return partial, descriptor
        os.close(descriptor)  # removed as left over in the moment before it was locked


def _remove_left_over(target: Path) -> None:
    """Remove what killed processes left of this file."""
    pattern = f".{glob.escape(target.name[:_NAME])}.????????.partial"
    for partial in target.parent.glob(pattern):
        with suppress(OSError):  # locked, or gone meanwhile
            descriptor = os.open(partial, os.O_RDWR)
            try:
                if sys.platform != "win32":
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    partial.unlink()
            finally:
                os.close(descriptor)
            if sys.platform == "win32":
                partial.unlink()


def _flush(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk."""
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        with suppress(*([OSError] if is_folder else [])):  # some network disks cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_refusal(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system refused something that its user can change: disk, quota, permission."""
    return isinstance(error, OSError) and error.errno in REFUSALS


def explained(error: OSError, *places: Path | None) -> EnvironmentProblem:
    """What the system refused, why, and what to do about it.

    `places` may be on the full disk: a write to it names no file.
    """
    named = error.filename2 or error.filename  # of a copy the second is the one that is written
    file = os.fsdecode(named) if named else ""
    why = error.strerror or str(error)
    fix = REFUSALS.get(error.errno or 0, "name another place")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = [file] if file else [str(place) for place in places if place is not None]
        where = " or ".join(dict.fromkeys(full))
        while_writing = f", while {where} was written" if where else ""
        return EnvironmentProblem(DISK_FULL, why=why + while_writing, fix=fix)
    what = f"The system refused to write or read {file or 'a file'}."
    return EnvironmentProblem(what, why=why, fix=fix)


@contextmanager
def refusals_explained(*places: Path | None) -> Iterator[None]:
    """What the system refuses in the block becomes an error that a user can act on."""
    try:
        yield
    except OSError as error:
        if not is_refusal(error):
            raise
        raise explained(error, *places) from error


def age(path: Path) -> float:
    """Seconds since the file was written; 0 where there is none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0


def has_no_room(folder: Path) -> bool:
    """Whether the folder's disk is so full that nothing can be written there."""
    try:
        return shutil.disk_usage(folder).free < FULL
    except OSError:
        return False
