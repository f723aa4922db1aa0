"""`export`: merge a finished run with the settings that it was made with, or any adapters."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fine_tuning import pipeline
from fine_tuning.cli.output.logs import log_folder
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c, what_is_next
from fine_tuning.cli.runs.summary import RunSummary, summary_of
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.shipping.adapter_folder import write_adapter
from fine_tuning.cli.shipping.combining import combining_of
from fine_tuning.disk.paths import absolute
from fine_tuning.engine.loading import given_adapters
from fine_tuning.errors import UsageError
from fine_tuning.stages.shipping import given
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A merged model, or an adapter that several ones were combined to."""

    model: Annotated[Path, "the directory that it lies in"]
    run: Annotated[RunSummary | None, "null: the adapter was trained elsewhere"] = None


def run(job: Resolved) -> Outcome[Exported]:
    """Merge; a run that has not finished training is refused, never trained on the side."""
    require_source(job.spec, job.options)
    combining = combining_of(job.spec, job.options)
    end_like_ctrl_c()
    if job.spec.use_cpu:
        job = without_gpu(job)
    with open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        alone = job.options.get("adapter_dir")
        if job.spec.output_dir is not None and alone:
            model = write_adapter(absolute(job.spec.output_dir), absolute(alone), screen)
            if not (job.spec.wants_merged or job.spec.gguf_adapter):
                return Outcome(Exported(model=model))
        if job.spec.output_dir is not None:
            place = pipeline.export(job.spec, sources=job.sources, screen=screen, command=job.line)
            for line in what_is_next(place):
                screen.say(line)
            summary = summary_of(place)
            return Outcome(Exported(model=summary.merged_path or place, run=summary))
        spec, combined_dir = with_absolute_paths(job.spec), job.options.get("combined_dir")
        adapters = [Path(name) for name in given_adapters(spec.engine_args)]
        combined = absolute(combined_dir) if combined_dir else None
        with log_folder("export") as folder:
            log = folder / "engine.log"
            model = (
                given.export_adapters(spec, adapters, combining, combined, log=log, screen=screen)
                if adapters
                else given.export_model(spec, log=log, screen=screen)
            )
    return Outcome(Exported(model=model))


def require_source(spec: RunSpec, options: Mapping[str, Any]) -> None:
    """Raise UsageError unless it is clear what to merge, and where to."""
    folder, adapters = spec.output_dir, given_adapters(spec.engine_args)
    combines = bool(options.get("combine"))
    mistakes = []
    leaves = spec.gguf or spec.ollama or spec.export_quantization
    if folder is None and not adapters and not (leaves and spec.model_name_or_path):
        mistakes.append(
            "--output_dir is needed: the folder of a finished run; or --adapter_name_or_path and "
            "--model_name_or_path: an adapter that was trained elsewhere, and its base model; or "
            "--model_name_or_path and --gguf or --export_quantization: a model to write in another "
            "format."
        )
    if folder is None and spec.gguf_adapter:
        mistakes.append("--gguf_adapter writes the adapter of a run: add its --output_dir.")
    if folder is not None and (adapters or spec.model_name_or_path):
        mistakes.append(
            "--output_dir names a run, which knows its base model and its adapter. Leave "
            "--model_name_or_path and --adapter_name_or_path out, or leave out --output_dir."
        )
    alone = options.get("adapter_dir")
    if folder is None and alone:
        mistakes.append("--adapter_dir writes the adapter of a run: add its --output_dir.")
    combined = combines and options.get("combined_dir")
    if not (spec.wants_merged or spec.gguf_adapter or combined or alone):
        or_adapter = "; or --combined_dir, one for the combined adapter" if combines else ""
        mistakes.append(
            f"--export_dir is needed: an empty directory for the merged model{or_adapter}."
        )
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
