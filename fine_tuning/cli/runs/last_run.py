"""The last run below a directory, as LLaMA Board can show it."""

from dataclasses import dataclass
from pathlib import Path

from fine_tuning.cli.runs.listing import newest_first
from fine_tuning.disk.paths import shown
from fine_tuning.errors import FineTuningError
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.record import result_of
from fine_tuning.values.tables.methods import METHODS

MOST = 20  # adapters that are listed


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The run's folder; its base model, LLaMA-Factory's template (empty: it has none that is the
    trained one), and the adapters of all runs upon this model: label and directory."""

    folder: Path
    model: str
    template: str
    adapters: tuple[tuple[str, str], ...]

    @property
    def says(self) -> str:
        """What Board opens with, or what to choose there."""
        run = shown(self.folder)
        if self.template:
            return (
                f"It opens with the model of {run}, {self.model}, and its template {self.template}."
            )
        return (
            f"It opens with the model of {run}, {self.model}; the template that was trained is the "
            "model's own, which LLaMA Board has not: answers there may differ. `chat` has it."
        )


def last_run(directory: Path) -> LastRun | None:
    """The newest run below the directory whose model and template are known; None without one."""
    found = [run for run in map(_seen, (it.path for it in newest_first(directory))) if run]
    if not found:
        return None
    folder, model, template, _ = found[0]
    adapters = [
        (shown(path), str(path.absolute()))
        for path, base, _, is_adapter in found
        if base == model and is_adapter
    ]
    return LastRun(folder=folder, model=model, template=template, adapters=tuple(adapters[:MOST]))


def _seen(path: Path) -> tuple[Path, str, str, bool] | None:
    """Folder, base model, template and whether an adapter lies there."""
    try:
        record = read_record(RunFolder(path))
    except (FineTuningError, OSError):
        return None
    model = result_of(record.stages.model) if record else None
    look = result_of(record.stages.tokens) if record else None
    if record is None or model is None or look is None:
        return None
    made = METHODS[record.settings.method].makes_adapter
    trained = made and (path / "adapter_config.json").is_file()
    return path, model.location, look.template.name or "", trained
