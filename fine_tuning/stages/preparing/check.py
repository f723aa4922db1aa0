"""check: the user's files are read, every row is checked, the usable ones are written."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.dataset.check import account, download
from fine_tuning.dataset.prepare.media_files import files_named, media_state
from fine_tuning.disk import hashes
from fine_tuning.disk.paths import shown
from fine_tuning.errors import RunConflict
from fine_tuning.screen import Screen, downloading
from fine_tuning.stages.preparing.split import warn_changed
from fine_tuning.units import counted, percent_text
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec, RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check the data into the folder `dataset`.

    `trained_on` are the rows that a training has begun with: others are refused, and if their
    files have gone, what was prepared from them is enough. `is_finished`: nothing is left to train.
    """

    name: ClassVar[str] = "check"
    spec: RunSpec
    dataset: Path
    trained_on: CheckedData | None = None
    is_finished: bool = False

    @property
    def named(self) -> Sequence[str]:
        """Files, directories and datasets of a hub, as they are named."""
        spec = self.spec
        return (*spec.data.dataset_path, *spec.data.mix, *spec.val_dataset_path)

    @property
    def read_as(self) -> DataSpec:
        """How rows are read: where a model learns from answers of its own, prompts alone too."""
        objective = OBJECTIVES.get(str(self.spec.stage))
        if objective is None or objective.online is None:
            return self.spec.data
        return replace(self.spec.data, allow_unanswered=True)

    def inputs(self) -> tuple[Any, ...]:
        return (self.read_as, self.spec.val_dataset_path, file_states(self.named))

    def holds(self, known: CheckedData) -> bool:
        """The rows lie as they were written, and the media that they name are the same."""
        if not _are_there(known) or hashes.changed(self.dataset):
            return False
        named = files_named(known.rows_path, known.validation_path)
        if self._gone() or (self.is_finished and not all(file.exists() for file in named)):
            return True  # of a finished training the files may have gone: it can be merged still
        return known.media is not None and media_state(known) == known.media

    def do(self, screen: Screen) -> CheckedData:
        gone = self._gone()
        if gone and self.trained_on is not None and _are_there(self.trained_on):
            hashes.require_unchanged(self.dataset, "put the data back that it was made from")
            screen.say(f"{', '.join(gone)} has gone: the rows that were prepared from it are used.")
            return self.trained_on
        spec = self.spec
        for folder in (self.dataset, self.dataset / "split"):  # both are made anew
            warn_changed(folder, screen)
        with downloading(screen, "fetch_data", ", ".join(spec.data.dataset_path)) as on_bytes:
            download(spec.data, spec.val_dataset_path, on_bytes)
        screen.begin("read", None, "bytes")
        checking = self.dataset.with_name(f"{self.dataset.name}.checking")
        data = account(
            self.read_as,
            out_dir=checking,
            extracted_dir=self.dataset.with_name("media"),  # rows name these files absolutely
            validation_paths=spec.val_dataset_path,
            progress=lambda at: screen.advance(at.done, at.total),
        )
        if self.trained_on is not None and self.trained_on.fingerprint != data.fingerprint:
            shutil.rmtree(checking, ignore_errors=True)
            raise _other_rows(self.dataset.parent, self.trained_on, data)
        data = _moved(data, checking, self.dataset)
        data = replace(data, media=media_state(data))
        hashes.write(self.dataset, ("rows.*", "validation.*"), "xxh3_128")
        screen.end(f"{data.rows_kept:,} of {data.rows_read:,} rows are usable ({data.format})")
        return data

    def tell(self, result: CheckedData, screen: Screen, *, known: bool) -> None:
        if known:
            screen.begin("read", None, "bytes")
            screen.end(f"{counted(result.rows_kept, 'row')}, as checked before")
        else:
            screen.problems(result.problems)
            if result.rows_dropped:
                share = percent_text(result.rows_dropped / result.rows_read)
                screen.say(
                    f"{counted(result.rows_dropped, 'row')} of {result.rows_read:,} ({share}) are"
                    f" left out, at most {percent_text(self.spec.data.max_bad_rows)} may be"
                    f" (--max_bad_rows); those to mend lie in {shown(result.rejected_path)}"
                )

    def _gone(self) -> list[str]:
        """What was there when the run was made, and has gone; nothing before a training began."""
        if self.trained_on is None:
            return []
        return [name for name in self.named if Path(name).is_absolute() and not Path(name).exists()]


def file_states(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """(path, bytes, modification time) of every file that the data comes from."""
    states = []
    for name in names:
        path = Path(name)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                status = file.stat()
                states.append((str(file), status.st_size, status.st_mtime_ns))
    return states


def _are_there(data: CheckedData) -> bool:
    parts = (data.rows_path, data.origins_path, data.validation_path, data.validation_origins_path)
    return all(path.exists() for path in parts if path is not None)


def _moved(data: CheckedData, checking: Path, dataset: Path) -> CheckedData:
    """Make the checked rows the run's dataset; what was prepared from older ones goes.

    Until here the old dataset was untouched, so a refusal loses nothing.
    """
    if dataset.exists():
        shutil.rmtree(dataset)
    checking.rename(dataset)
    moved: dict[str, Any] = {
        field.name: dataset / value.name
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), Path) and value.parent == checking
    }
    return replace(data, **moved)


def _other_rows(run_dir: Path, then: CheckedData, now: CheckedData) -> RunConflict:
    return RunConflict(
        f"{run_dir} was trained on other rows: {then.rows_kept:,} then, {now.rows_kept:,} now, and "
        "their content differs.",
        fix="to train its adapter further on these rows, give --adapter_name_or_path "
        f"{shlex.quote(str(run_dir))} and another --output_dir; or --restart to start this run "
        "again (the old state is moved aside)"
        if (run_dir / "adapter_config.json").exists()
        else "give another --output_dir, or --restart to start this run again (the old state is "
        "moved aside)",
    )
