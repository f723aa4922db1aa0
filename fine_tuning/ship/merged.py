"""The merged model's directory: empty before, whole or absent after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.disk import files
from fine_tuning.errors import UsageError


def require_usable(target: Path, run_dir: Path) -> None:
    """Raise before the training what would make the export fail, or be lost, after it.

    UsageError if the directory is in use or lies where the run replaces files, EnvironmentProblem
    if nothing may be written there.
    """
    run, place = run_dir.resolve(), target.resolve()
    if run.is_relative_to(place):
        beside = run_dir.with_name(f"{run_dir.name}-merged")
        raise UsageError(
            f"--export_dir {target} would hold the run itself ({run_dir}).",
            fix=f"give another directory, for example {beside}",
        )
    inside = place.relative_to(run).parts[0] if place.is_relative_to(run) else ""
    if inside in ("dataset", "dataset.checking", "logs") or inside.startswith("checkpoint-"):
        raise UsageError(
            f"--export_dir {target} lies in the run's {inside}, which the run replaces.",
            fix=f"give another directory, for example {run_dir / 'merged'}",
        )
    files.require_empty(target, "--export_dir ")
    files.require_writable(target.parent, "--export_dir ")


def is_whole(target: Path) -> bool:
    """Whether a merged model that was finished here still has its configuration and weights."""
    return (target / "config.json").exists() and any(
        file for kind in ("*.safetensors", "*.bin") for file in target.glob(kind)
    )


def require_same(target: Path, made_with: Mapping[str, Any], wished: Mapping[str, Any]) -> None:
    """Raise UsageError if the merged model is there and was written with other settings."""
    names = sorted({*made_with, *wished})
    differing = [
        f"  --{name}: it was written with {made_with.get(name, 'nothing')}, "
        f"now {wished.get(name, 'nothing')} is given"
        for name in names
        if made_with.get(name) != wished.get(name)
    ]
    if differing:
        raise UsageError(
            "\n".join([f"--export_dir {target} holds this run's merged model:", *differing]),
            fix="give another directory, or move this one away to write it again",
        )
