"""How a job ends when it does not reach its end: what the run's folder then says of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fine_tuning import files, report
from fine_tuning.errors import FineTuningError, Interrupted, UsageError
from fine_tuning.job.opening import Job, restored


@contextmanager
def recorded(job: Job, before: Mapping[str, Any]) -> Iterator[None]:
    """Keep in the run why it stopped, and let the error go on as one that a user can act on.

    `before` is the run's record from before this command: a command that is refused, or only
    looks (--dry_run), leaves a trained run as it was.
    """
    try:
        yield
    except UsageError as error:
        if not restored(job, before):
            _record(job, error)
        raise
    except FineTuningError as error:
        _record(job, error)
        raise
    except OSError as error:
        if not files.is_refusal(error):
            _record(job, _unexpected(job, error))
            raise
        refused = files.explained(error, job.folder.path, job.spec.export_dir)
        _record(job, refused)
        raise refused from error
    except KeyboardInterrupt:
        stopped = Interrupted("Interrupted.", fix="the same command continues")
        _record(job, stopped)
        raise stopped from None
    except Exception as error:
        _record(job, _unexpected(job, error))
        raise
    if job.spec.dry_run:
        restored(job, before)


def _record(job: Job, error: FineTuningError) -> None:
    """Keep what is known of a run that stopped early, so that its page can say why."""
    job.folder.record["status"] = "interrupted" if isinstance(error, Interrupted) else "failed"
    job.folder.record["failure"] = {"what": error.what, "why": error.why, "fix": error.fix}
    with suppress(
        OSError, ValueError, KeyError, FineTuningError
    ):  # a full disk must not hide what happened
        job.folder.save()
        if job.folder.stage("split"):
            report.write_report(job.folder.path, report.collect(job.folder.path))


def _unexpected(job: Job, error: Exception) -> FineTuningError:
    """What the run says of a bug; the command's own message names the file with its traceback."""
    return FineTuningError(
        f"{type(error).__name__}: {error}",
        why="this is a bug in this program, or a failure that it does not know",
        fix=f"the same command continues; the engine's output is in {job.folder.log}",
    )
