"""The command in a terminal of its own, where keys are typed and the screen is read."""

import os
import pty
import select
import subprocess
import sys
import time
from types import TracebackType

from tests.commands import PROGRAM, environment

PATIENCE_S = 120
# What the line editor writes when it begins to read a line, and when it has it.
READING, READ = "\x1b[?2004h", "\x1b[?2004l"


class Terminal:
    """A context manager; what is on the screen is read once, in order."""

    def __init__(self, *words: object) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # nobody answers when the editor asks where the cursor is
            env=environment(TERM="xterm", CI="", PROMPT_TOOLKIT_NO_CPR="1"),
            start_new_session=True,
            preexec_fn=_controlling,
        )
        os.close(slave)
        self._screen = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._master, keys.encode())

    def terminate(self) -> None:
        """As a supervisor ends it."""
        self._process.terminate()

    def until(self, text: str) -> str:
        """What is on the screen up to this text, which must appear."""
        end = time.monotonic() + PATIENCE_S
        while text not in self._screen:
            assert time.monotonic() < end, f"no {text!r} in {self._screen[-2000:]!r}"
            self._read()
        before, _, self._screen = self._screen.partition(text)
        return before

    def ended(self) -> int:
        """The exit code, once it has ended."""
        end = time.monotonic() + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < end:
            self._read()
        return self._process.wait(timeout=1)

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.1)[0]:
            try:
                self._screen += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # it has ended
                time.sleep(0.1)


def _controlling() -> None:
    """Standard input is the terminal of this process, from which it hears Ctrl-C."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
