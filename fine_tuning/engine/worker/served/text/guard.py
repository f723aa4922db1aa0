"""A bound on time and memory for code that came with a model: its chat template is a program."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fine_tuning.engine.worker.time_limit import TooLong, timed
from fine_tuning.errors import ModelError

SECONDS = 8.0  # for some dozens of renderings, which take milliseconds
MEMORY = 1_500_000_000  # bytes beyond what the process has already


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Raise ModelError if what runs inside takes longer or asks for more memory.

    Time is bounded where there are timers (not on Windows) and in the main thread alone, memory
    on Linux, where a limit of the address space is kept.
    """
    try:
        with timed(seconds), _limited(memory):
            yield
    except TooLong:
        raise ModelError(
            f"The chat template of this model did not come to an end within {seconds:.0f} s.",
            why="a template is a small program; this one loops for ever, or nearly so",
            fix="take another model directory, or mend its chat_template",
        ) from None
    except MemoryError:
        raise ModelError(
            f"The chat template of this model asks for more than {memory / 1e9:.1f} GB.",
            why="a template is a small program; this one makes texts without bound",
            fix="take another model directory, or mend its chat_template",
        ) from None


@contextmanager
def _limited(memory: int) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    import resource

    known = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + memory
    if known[1] != resource.RLIM_INFINITY:
        most = min(most, known[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, known[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, known)
