"""One run on disk: its folder, its record, and what of it still holds."""

from fine_tuning.run.ending import done, page_meanwhile, recorded
from fine_tuning.run.opening import (
    begun_from,
    finished,
    finished_run,
    opened,
    require_finished,
    resolved,
)
from fine_tuning.run.run import Run

__all__ = [
    "Run",
    "begun_from",
    "done",
    "finished",
    "finished_run",
    "opened",
    "page_meanwhile",
    "recorded",
    "require_finished",
    "resolved",
]
