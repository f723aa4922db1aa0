"""An end to code that is not ours and may never come to one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooLong(BaseException):
    """Raised inside such code; not an Exception, which it may swallow."""


@contextmanager
def timed(seconds: float) -> Iterator[None]:
    """Raise TooLong in what runs inside once it has taken so long.

    Where there are timers (not on Windows), and in the main thread alone.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    known = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, known)
