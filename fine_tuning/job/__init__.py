"""One job as the pipeline carries it, and the small steps between its stages."""

from fine_tuning.job.opening import Job, anchored, open_job, settled

__all__ = ["Job", "anchored", "open_job", "settled"]
