"""The merged model's directory: empty before, whole or absent after."""

import shutil
from pathlib import Path

from fine_tuning.errors import UsageError


def require_empty(target: Path) -> None:
    """Raise UsageError if there is something in the directory.

    Left-over shards of another export would be loaded together with the new ones.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"--export_dir {target} is not empty; nothing in it was touched.",
            fix="give another directory, or empty this one",
        )


def export_target(target: Path) -> Path:
    """The directory beside `target` to write into first; UsageError if `target` is in use."""
    require_empty(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.partial"
    if partial.exists():
        shutil.rmtree(partial)  # ours, from an export that was cut off
    partial.mkdir()
    return partial


def publish(partial: Path, target: Path) -> None:
    """Give the finished directory its name, in one step."""
    if target.exists():
        target.rmdir()
    partial.rename(target)
