"""`run`: the whole job."""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from types import FrameType

from fine_tuning import pipeline
from fine_tuning.cli.data.samples import register_samples
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.runs.summary import RunSummary, of_record, summary_of
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.settings.words.program import program_here
from fine_tuning.disk.paths import shown
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.record import result_of
from fine_tuning.values.tables.methods import METHODS


def run(job: Resolved) -> Outcome[RunSummary]:
    """Do the job and report it on the terminal."""
    end_like_ctrl_c()
    with open_screen() as screen:
        for warning in job.warnings:
            screen.warn(warning)
        place = pipeline.run(job.spec, sources=job.sources, screen=screen, command=job.line)
        for line in what_is_next(place):
            screen.say(line)
        bundled = not job.spec.data.dataset_path and not job.spec.data.mix
        if bundled and not job.spec.dry_run:
            register_samples(job.spec.dataset_dir)
    return Outcome(summary_of(place))


def what_is_next(run_dir: Path) -> Iterator[str]:
    """Lines for the end of a run that was done: its parts, how to talk to it, how to merge it.

    Commands are broken where a shell reads on, so that a narrow terminal does not break them.
    """
    record = read_record(RunFolder(run_dir))
    if record is None:
        return
    if record.status == "dry_run":
        yield "Nothing was trained: the same command without --dry_run trains."
    if record.status != "done":
        return
    summary, ollama = of_record(run_dir, record), result_of(record.stages.ollama)
    method = METHODS[summary.method]
    yield f"{'Adapter' if method.makes_adapter else 'Model'}: {shown(run_dir)}"
    if summary.merged_path is not None:
        yield f"Merged model: {shown(summary.merged_path)}"
    for path in summary.gguf_paths:
        yield f"GGUF file: {shown(path)}"
    if summary.quantized_path is not None:
        yield f"For GPU servers: {shown(summary.quantized_path)}"
    if ollama is not None and ollama.created:
        yield f"In Ollama: ollama run {ollama.name}"
    place = quote(shown(run_dir))
    if summary.stage != "rm":
        yield f"Talk to it:\n    {program_here()} chat --output_dir {place}"
    if summary.merged_path is None and method.makes_adapter and not method.soft_prompt:
        target = quote(f"{shown(run_dir)}-merged")
        words = [f"{program_here()} export", f"--output_dir {place}", f"--export_dir {target}"]
        yield "Merge it:\n    " + " \\\n    ".join(words)


def end_like_ctrl_c() -> None:
    """Save a checkpoint also where a batch system, `docker stop` or a closed terminal ends us.

    Nothing can be written any more to a terminal that was closed. `nohup` stays what it is.
    """
    interrupt = once_a_second()
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as a shell starts `command &`
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def hang_up(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in terminals:
            os.dup2(nowhere, stream)
        interrupt(number, frame)

    signal.signal(signal.SIGHUP, hang_up)


def once_a_second() -> Callable[[int, FrameType | None], None]:
    """A signal handler that raises KeyboardInterrupt; a second signal within a second is the same.

    A key that is held, `timeout` and its shell, a terminal and its shell: one wish is often
    several signals, and a second one would end the saving of the checkpoint.
    """
    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now, before = time.monotonic(), last
        last = now
        if now - before > 1.0:
            raise KeyboardInterrupt

    return interrupt
