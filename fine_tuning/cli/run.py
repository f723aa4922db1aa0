"""`run`: the whole job."""

import signal

from fine_tuning import pipeline
from fine_tuning.cli.samples import register_samples
from fine_tuning.cli.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.errors import EXIT_DONE


def run(job: Resolved) -> int:
    """Do the job and report it on the terminal."""
    # a batch system or `docker stop` asks to end like Ctrl-C, and waits some seconds
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        pipeline.run(job.spec, sources=job.sources, screen=screen, command=job.line)
        bundled = not job.spec.data.dataset_path and not job.spec.data.mix
        if bundled and not job.spec.dry_run:
            register_samples(job.spec.dataset_dir)
    return EXIT_DONE
