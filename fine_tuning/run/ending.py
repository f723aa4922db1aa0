"""How a run ends when it does not reach its end: what its record then says of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fine_tuning.disk import files
from fine_tuning.disk.paths import shown
from fine_tuning.errors import FineTuningError, Interrupted
from fine_tuning.run.run import Run
from fine_tuning.values.record import RunRecord

WritePage = Callable[[Path, RunRecord], Path]


@contextmanager
def recorded(run: Run, write_page: WritePage) -> Iterator[None]:
    """Keep in the run why it stopped, and let the error go on as one that a user can act on.

    `write_page` writes the run's page, which says it too.
    """
    try:
        yield
    except FineTuningError as error:
        _record(run, error, write_page)
        raise
    except KeyboardInterrupt:
        stopped = Interrupted("Interrupted.", fix="the same command continues")
        _record(run, stopped, write_page)
        raise stopped from None
    except Exception as error:
        if isinstance(error, OSError) and files.is_refusal(error):
            refused = files.explained(error, run.folder.path, run.spec.export_dir)
            _record(run, refused, write_page)
            raise refused from error
        bug = FineTuningError(  # the command's own message names the file with its traceback
            f"{type(error).__name__}: {error}",
            why="this is a bug in this program, or a failure that it does not know",
            fix=f"the same command continues; the engine's output is in {run.folder.log}",
        )
        _record(run, bug, write_page)
        raise


def done(run: Run, write_page: WritePage) -> None:
    """The command has done all: the record and the page say so, and where the page is."""
    run.end("done")
    run.screen.say(f"Report: {shown(write_page(run.folder.path, run.record))}")


def page_meanwhile(run: Run, write_page: WritePage) -> None:
    """The page as far as the run has come, so that it can be watched; a full disk must not end
    it."""
    if run.spec.on_first_node:
        with suppress(OSError, FineTuningError):
            write_page(run.folder.path, run.record)


def _record(run: Run, error: FineTuningError, write_page: WritePage) -> None:
    # a full disk, or a damaged file, must not hide what happened
    with suppress(OSError, FineTuningError):
        run.fail(error)
        if run.accepted and run.record.stages.split is not None:
            write_page(run.folder.path, run.record)
