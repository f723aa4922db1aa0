"""`run`: the whole job."""

import os
import signal
from types import FrameType

from fine_tuning import pipeline
from fine_tuning.cli.samples import register_samples
from fine_tuning.cli.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.errors import EXIT_DONE


def run(job: Resolved) -> int:
    """Do the job and report it on the terminal."""
    end_like_ctrl_c()
    with open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        pipeline.run(job.spec, sources=job.sources, screen=screen, command=job.line)
        bundled = not job.spec.data.dataset_path and not job.spec.data.mix
        if bundled and not job.spec.dry_run:
            register_samples(job.spec.dataset_dir)
    return EXIT_DONE


def end_like_ctrl_c() -> None:
    """Save a checkpoint also where a batch system, `docker stop` or a closed terminal ends us.

    A closed terminal may hang up twice, once by the system and once by its shell, and nothing can
    be written to it any more. `nohup` stays what it is.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def hang_up(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in terminals:
            os.dup2(nowhere, stream)
        raise KeyboardInterrupt

    signal.signal(signal.SIGHUP, hang_up)
