"""A run on disk: `run.json`, its stages and what they were made from.

`run.json` is written atomically after every change, so that a killed run continues from what it
says. One process at a time works in a run; the lock is released by the system if it is killed.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from filelock import FileLock, Timeout

from fine_tuning import files
from fine_tuning.errors import DataError, EnvironmentProblem, RunConflict, UsageError
from fine_tuning.paths import shared_place

T = TypeVar("T")
SCHEMA = 1


def to_json(value: Any) -> Any:
    """A value of ours as plain JSON types."""
    return msgspec.to_builtins(value, enc_hook=str)


def from_json(value: Any, kind: type[T]) -> T:
    """The value again; DataError if a run.json was changed so that it is none."""
    try:
        return msgspec.convert(
            value, kind, dec_hook=lambda wanted, text: wanted(text), strict=False
        )
    except (msgspec.ValidationError, TypeError) as error:
        raise _damaged("run.json", error) from error


def _damaged(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read: {error}",
        fix="give another --output_dir, or start it again with --restart "
        "(the old state is moved aside)",
    )


def fingerprint(*values: Any) -> str:
    """A short hash of JSON-able values, equal exactly when they are."""
    text = json.dumps([to_json(value) for value in values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class RunFolder:
    """The folder of one run. `record` is the content of `run.json`.

    `moved_from` is where the run was made, if it was moved or copied since: the paths in its
    record are then those of its new place.
    """

    path: Path
    record: dict[str, Any] = field(default_factory=dict)
    moved_from: str | None = None

    @property
    def dataset(self) -> Path:
        """Canonical rows, dataset_info.json, report.json, rejected.jsonl."""
        return self.path / "dataset"

    @property
    def checking(self) -> Path:
        """Where rows are checked before they become this run's dataset."""
        return self.path / "dataset.checking"

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
    def locked(self) -> Iterator[None]:
        """Hold the run while working in it, with its record loaded."""
        with self.held():
            self.load()
            self.stop_file.unlink(missing_ok=True)
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; RunConflict if one is at work here."""
        make_directory(self.path / "logs", "output_dir")
        lock = FileLock(self.path / "logs" / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunConflict(
                f"Another process is working in {self.path}.",
                fix="wait until it has finished, or give another --output_dir",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def load(self) -> None:
        """Read `run.json`, if there is one."""
        path = self.path / "run.json"
        if not path.exists():
            return
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(record, dict) or not isinstance(record.get("stages", {}), dict):
                raise ValueError("it is not the record of a run")
        except ValueError as error:
            raise _damaged(str(path), error) from error
        made_in = record.get("settings", {}).get("output_dir")
        if isinstance(made_in, str) and made_in != str(self.path):
            record, self.moved_from = _moved(record, made_in, str(self.path)), made_in
        self.record = record

    def save(self) -> None:
        """Write `run.json`."""
        self.record["schema"] = SCHEMA
        text = json.dumps(self.record, ensure_ascii=False, indent=1, default=str)
        files.write_text(self.path / "run.json", text + "\n", durable=True)

    def stage(self, name: str) -> dict[str, Any]:
        """What is known of a stage; empty if it never began."""
        return dict(self.record.get("stages", {}).get(name, {}))

    def result_of(self, name: str, inputs: str) -> dict[str, Any] | None:
        """The result of a stage that is done with the same inputs."""
        known = self.stage(name)
        if known.get("state") == "done" and known.get("inputs") == inputs:
            return dict(known["result"])
        return None

    def do(self, name: str, inputs: str, work: Callable[[], Any]) -> dict[str, Any]:
        """The stage's result; the work is only done if its inputs have changed."""
        known = self.result_of(name, inputs)
        if known is not None:
            return known
        began = time.time()
        self.mark(name, state="running", inputs=inputs, began=began)
        result = to_json(work())
        seconds = round(time.time() - began, 3)
        self.mark(name, state="done", inputs=inputs, began=began, seconds=seconds, result=result)
        return dict(result)

    def forget(self, *names: str) -> None:
        """Stages that must be done again, because their files are gone."""
        for name in names:
            self.record.get("stages", {}).pop(name, None)

    def forget_unbegun_training(self, main: "RunFolder") -> bool:
        """Forget a training that ended before it left anything; True if there was one.

        Nothing is lost if its settings change, and after an out-of-memory error at the first step
        they must. That it was attempted stays known: settings that are not given are still taken
        from the run. `main` is where checkpoints and weights lie.
        """
        state = self.stage("train").get("state")
        if state in (None, "done") or main.checkpoints() or has_weights(main.path):
            return False
        self.forget("train")
        self.record["attempted"] = True
        return True

    def mark(self, name: str, **facts: Any) -> None:
        """Record the state of a stage."""
        self.record.setdefault("stages", {})[name] = facts
        self.save()

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [
            path
            for path in self.path.glob("checkpoint-*")
            if path.name.removeprefix("checkpoint-").isdigit() and self._complete(path)
        ]
        return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))

    def set_aside_incomplete_checkpoints(self) -> None:
        """Rename checkpoints whose writing was cut off, so that nothing resumes from them."""
        for path in self.path.glob("checkpoint-*"):
            if path.name.removeprefix("checkpoint-").isdigit() and not self._complete(path):
                path.rename(path.with_name(f"incomplete-{path.name}-{int(time.time())}"))

    def _complete(self, checkpoint: Path) -> bool:
        """The trainer writes trainer_state.json after weights, optimizer and random state.

        Files that were deleted since would end the training late, or let it go on with an
        optimizer that starts anew. Engines that split a model keep it in folders of their own.
        """
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if any(entry.is_dir() for entry in checkpoint.iterdir()):
            return True
        settings = self.stage("train").get("settings", {})
        optimizer = settings.get("save_only_model") or (checkpoint / "optimizer.pt").exists()
        return has_weights(checkpoint) and bool(optimizer)


def _moved(value: Any, before: str, now: str) -> Any:
    """The same values, with paths in one folder changed to those in another."""
    if isinstance(value, dict):
        return {name: _moved(item, before, now) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, before, now) for item in value]
    if isinstance(value, str) and (value == before or value.startswith(f"{before}{os.sep}")):
        return now + value[len(before) :]
    return value


def has_weights(folder: Path) -> bool:
    """Whether an adapter or a whole model lies in the folder."""
    if (folder / "adapter_config.json").exists():
        return any(folder.glob("adapter_model.*"))
    kinds = ("model*.safetensors", "pytorch_model*.bin")
    return any(file for kind in kinds for file in folder.glob(kind))


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
    return entry.name.startswith((".", "node-", "run.json.")) or entry.name == "lost+found"


def set_aside(path: Path) -> Path | None:
    """Move an old run out of the way; nothing is deleted."""
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside
