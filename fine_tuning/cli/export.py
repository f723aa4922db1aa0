"""`export`: merge a finished run, with the settings that it was made with."""

import json
import os
from dataclasses import replace
from pathlib import Path

from fine_tuning.cli.run import run as run_job
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.errors import UsageError
from fine_tuning.run_folder import has_weights


def run(job: Resolved) -> int:
    """Merge; a run that has not finished training is refused, never trained on the side."""
    folder, target = job.spec.output_dir, job.spec.export_dir
    missing = [
        f"--{name} is needed: {meaning}."
        for name, value, meaning in (
            ("output_dir", folder, "the folder of a finished run"),
            ("export_dir", target, "an empty directory for the merged model"),
        )
        if value is None
    ]
    if folder is None or target is None:
        raise UsageError(missing)
    require_finished(folder)
    return run_job(without_gpu(job) if job.spec.use_cpu else job)


def without_gpu(job: Resolved) -> Resolved:
    """Hide the GPUs from what this process starts, and leave the run's own settings alone.

    For a run --use_cpu is part of how it was trained; where it is merged changes nothing.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sources = {name: source for name, source in job.sources.items() if name != "use_cpu"}
    return replace(job, spec=job.spec.replace(use_cpu=False), sources=sources)


def require_finished(folder: Path) -> None:
    """Raises `UsageError` unless the folder holds a run whose training is done."""
    record = folder / "run.json"
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", fix="give the --output_dir of a run")
    if not record.is_file() and (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"{folder} holds an adapter, but no run.json that says how it was trained.",
            fix="`llamafactory-cli export` merges it; it must be told base model and template",
        )
    if not record.is_file():
        raise UsageError(f"{folder} holds no run.", fix="give the --output_dir of a finished run")
    try:
        stages = json.loads(record.read_text(encoding="utf-8")).get("stages", {})
    except ValueError as error:
        raise UsageError(
            f"{record} is damaged: {error}.", fix="train into another folder"
        ) from error
    if stages.get("train", {}).get("state") != "done":
        raise UsageError(
            f"The run in {folder} has not finished training.",
            fix="`run` with the same --output_dir continues it, and with --export_dir merges it",
        )
    if not has_weights(folder):
        raise UsageError(
            f"The trained weights have gone from {folder}.",
            fix="`run` with the same --output_dir takes them from the last checkpoint",
        )
