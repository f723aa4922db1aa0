"""`export`: merge a finished run with the settings that it was made with, or any adapter."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fine_tuning import pipeline
from fine_tuning.cli.next_steps import what_is_next
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.runs.summary import RunSummary, summary_of
from fine_tuning.cli.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.errors import UsageError
from fine_tuning.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A merged model."""

    model: Annotated[Path, "the directory that it lies in"]
    run: Annotated[RunSummary | None, "null: the adapter was trained elsewhere"] = None


def run(job: Resolved) -> Outcome[Exported]:
    """Merge; a run that has not finished training is refused, never trained on the side."""
    require_source(job.spec)
    end_like_ctrl_c()
    if job.spec.use_cpu:
        job = without_gpu(job)
    with open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        if job.spec.output_dir is not None:
            place = pipeline.export(job.spec, sources=job.sources, screen=screen, command=job.line)
            for line in what_is_next(place):
                screen.say(line)
            summary = summary_of(place)
            return Outcome(Exported(model=summary.merged_path or place, run=summary))
        # kept if it fails: the message names it
        log = Path(tempfile.mkdtemp(prefix="export-")) / "engine.log"
        model = pipeline.merge_adapter(job.spec, log=log, screen=screen)
        log.unlink(missing_ok=True)
        log.parent.rmdir()
    return Outcome(Exported(model=model))


def require_source(spec: RunSpec) -> None:
    """Raise UsageError unless it is clear what to merge, and where to."""
    folder, adapter = spec.output_dir, spec.engine_args.get("adapter_name_or_path")
    mistakes = []
    if folder is None and not adapter:
        mistakes.append(
            "--output_dir is needed: the folder of a finished run; or --adapter_name_or_path and "
            "--model_name_or_path: an adapter that was trained elsewhere, and its base model."
        )
    if folder is not None and (adapter or spec.model_name_or_path):
        mistakes.append(
            "--output_dir names a run, which knows its base model and its adapter. Leave "
            "--model_name_or_path and --adapter_name_or_path out, or leave out --output_dir."
        )
    if spec.export_dir is None:
        mistakes.append("--export_dir is needed: an empty directory for the merged model.")
    if mistakes:
        raise UsageError(mistakes)
    if folder is not None and not (folder / "run.json").is_file():
        raise _no_run(folder)


def _no_run(folder: Path) -> UsageError:
    if not folder.is_dir():
        return UsageError(f"There is no folder {folder}.", fix="give the --output_dir of a run")
    if (folder / "adapter_config.json").is_file():
        return UsageError(
            f"{folder} holds an adapter, but no run.json that says how it was trained.",
            fix=f"merge it with --adapter_name_or_path {folder} --model_name_or_path BASE",
        )
    return UsageError(f"{folder} holds no run.", fix="give the --output_dir of a finished run")


def without_gpu(job: Resolved) -> Resolved:
    """Hide the GPUs from what this process starts, and leave the run's own settings alone.

    For a run --use_cpu is part of how it was trained; where it is merged changes nothing.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sources = {name: source for name, source in job.sources.items() if name != "use_cpu"}
    return replace(job, spec=job.spec.replace(use_cpu=False), sources=sources)
