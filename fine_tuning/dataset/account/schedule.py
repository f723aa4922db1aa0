"""Runs the passes over all files: in this process or in several."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from fine_tuning.dataset.account.sink import PartResult, Slice
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.passes import PartJob, run_parts
from fine_tuning.dataset.read import split_ranges
from fine_tuning.dataset.sources import Source
from fine_tuning.errors import DataError

SMALL = 500_000_000  # below, starting processes costs more than they save (bench/data.py)
SMALLEST_CUT = 1_000_000
PART_BYTES = 64_000_000
BATCH_BYTES = 1_000_000  # of small files that are read in a row
PARTS_EACH = 8  # parts of a file for each process, so that all end at about the same time


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is, in bytes of the files on disk."""

    done: int
    total: int


@dataclass(frozen=True)
class Planned:
    """A file and the plan for its rows."""

    source: Source
    plan: Plan


@dataclass(frozen=True)
class Part:
    """A finished pass: where its files lie, and its counts."""

    folder: Path
    result: PartResult

    def slice(self, name: str) -> Slice:
        """What it left in the file of this name."""
        return Slice(self.folder / name, *self.result.slices[name])


@dataclass(frozen=True)
class _Batch:
    """Passes that one process runs in a row, into one folder; `size` in bytes of the files."""

    folder: Path
    jobs: list[PartJob]
    size: int


def worker_count(asked: int | None, total: int) -> int:
    """How many processes read: as asked, otherwise one below 500 MB, else one for each core."""
    if asked:
        return max(1, asked)
    if total < SMALL:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parts(source: Source, workers: int) -> bool:
    """Whether a file is cut for several processes; a small one is not worth it."""
    return workers > 1 and source.size >= SMALLEST_CUT


def run_passes(
    files: Sequence[Planned],
    *,
    folder: Path,
    workers: int,
    progress: Callable[[Progress], None] | None = None,
) -> list[list[Part]]:
    """The parts of each file, in order; their files lie in `folder`, which is made."""
    jobs = [_jobs_of(file, workers) for file in files]
    batches = _batches([job for of_file in jobs for job in of_file], folder)
    clock = _Clock(sum(batch.size for batch in batches), progress)
    results = dict(_run(batches, workers, clock))
    parts = iter([Part(b.folder, result) for b in batches for result in results[b.folder]])
    return [list(islice(parts, len(of_file))) for of_file in jobs]


def _batches(jobs: Sequence[PartJob], folder: Path) -> list[_Batch]:
    """Small files share a folder: ten thousand of them would make sixty thousand files."""
    batches: list[_Batch] = []
    waiting: list[PartJob] = []
    size = 0
    for job in jobs:
        if waiting and size + _size(job) > BATCH_BYTES:
            batches.append(_Batch(folder / str(len(batches)), waiting, size))
            waiting, size = [], 0
        waiting.append(job)
        size += _size(job)
    return [*batches, _Batch(folder / str(len(batches)), waiting, size)]


class _Clock:
    """Adds up bytes and tells the caller, not more often than each hundredth of the whole."""

    def __init__(self, total: int, tell: Callable[[Progress], None] | None) -> None:
        self.total, self._tell = total, tell
        self._finished = self._open = self._told = 0

    def advance(self, size: int) -> None:
        self._open += size
        self._report()

    def finish(self, size: int) -> None:
        self._finished += size
        self._open = 0
        self._report()

    def _report(self) -> None:
        done = min(self.total, self._finished + self._open)
        if self._tell and (done - self._told >= self.total // 100 or done == self.total):
            self._told = done
            self._tell(Progress(done, self.total))


def _run(
    batches: Sequence[_Batch], workers: int, clock: _Clock
) -> Iterator[tuple[Path, list[PartResult]]]:
    if workers == 1 or len(batches) < 2:
        for batch in batches:
            yield batch.folder, run_parts(batch.jobs, batch.folder, clock.advance)
            clock.finish(batch.size)
        return
    # Not fork: the caller may have threads (a progress bar, an engine worker's reader).
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers - 1, context, initializer=_follow_the_parent)
    try:
        yield from _shared(pool, batches, workers, clock)
    except BrokenProcessPool as error:
        raise DataError(
            "A process that read the data was ended from outside.",
            why="perhaps the memory did not suffice",
            fix="run again with fewer processes: --num_workers 1",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _shared(
    pool: ProcessPoolExecutor, batches: Sequence[_Batch], workers: int, clock: _Clock
) -> Iterator[tuple[Path, list[PartResult]]]:
    """The pool works from the front; this process, which need not start first, from the back.

    Each process of the pool has one part at a time, so that at the end none waits for another.
    """
    left = deque(batches)
    begun: SimpleQueue[tuple[_Batch, Future[list[PartResult]]]] = SimpleQueue()

    def begin_next(_: object = None) -> None:
        try:
            batch = left.popleft()
        except IndexError:
            return
        try:
            future = pool.submit(run_parts, batch.jobs, batch.folder)
        except RuntimeError as error:  # a process was killed
            future = Future()
            future.set_exception(error)
        begun.put((batch, future))
        if not future.done() or future.exception() is None:
            future.add_done_callback(begin_next)

    for _ in range(workers - 1):
        begin_next()
    of_pool = len(batches)
    while left:
        try:
            batch = left.pop()
        except IndexError:  # the pool was faster
            break
        of_pool -= 1
        yield batch.folder, run_parts(batch.jobs, batch.folder, clock.advance)
        clock.finish(batch.size)
    for _ in range(of_pool):
        batch, future = begun.get()
        yield batch.folder, future.result()
        clock.finish(batch.size)


def _follow_the_parent() -> None:
    """Leave Ctrl-C to it, which reaches the whole process group, and end when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


def _jobs_of(file: Planned, workers: int) -> list[PartJob]:
    source, plan = file.source, file.plan
    count = max(PARTS_EACH * workers, -(-source.size // PART_BYTES))
    try:
        ranges = split_ranges(source, count) if in_parts(source, workers) else []
        before = _lines_before(source, [part.start for part in ranges])
    except OSError:  # the file has just been removed: the pass over it will say so
        ranges = []
    if len(ranges) < 2:
        return [PartJob(source, plan)]
    return [PartJob(source, plan, part, lines) for part, lines in zip(ranges, before, strict=True)]


def _lines_before(source: Source, starts: Sequence[int]) -> list[int]:
    """How many lines end before each of these bytes."""
    counts: list[int] = []
    lines = at = 0
    if len(starts) < 2:
        return counts
    with source.path.open("rb") as file:
        for start in starts:
            while at < start and (data := file.read(min(1 << 20, start - at))):
                lines += data.count(b"\n")
                at += len(data)
            counts.append(lines)
    return counts


def _size(job: PartJob) -> int:
    return job.part.end - job.part.start if job.part else job.source.size
