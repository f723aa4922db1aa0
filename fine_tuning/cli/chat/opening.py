"""Whom a chat speaks with: the model of a run, or those that are named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fine_tuning.engine.process.chatting import Speaker
from fine_tuning.engine.process.launch import worker_for
from fine_tuning.run import finished_run
from fine_tuning.screen import Screen
from fine_tuning.stages.asking import chat as talking
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining


@contextmanager
def speaker_of(
    spec: RunSpec, combining: Combining | None, *, folder: Path, screen: Screen
) -> Iterator[Speaker]:
    """Models to speak with: those of a finished run, which is only read, or the named ones, also
    combined to one.

    `folder` takes the engine's log. Raises UsageError for a run that has not finished.
    """
    record = None
    if spec.output_dir is not None:
        run_dir, record = finished_run(spec.output_dir)
    trained_by = spec if record is None else record.settings.replace(use_cpu=spec.use_cpu)
    with worker_for(trained_by, folder / "engine.log") as worker:
        worker.start()  # its imports overlap with looking for the model
        if record is not None:
            voices = talking.of_run(record, run_dir, screen)
        else:
            target = folder / talking.TOGETHER
            together = (
                talking.Together(combining=combining, target=target, worker=worker)
                if combining
                else None
            )
            voices = talking.of_named(spec, screen, together)
        yield Speaker(voices, worker, screen, folder)
