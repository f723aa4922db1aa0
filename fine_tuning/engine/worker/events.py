"""How the worker speaks to the front end: one JSON object per line, on the original stdout.

Everything else that is printed in this process (by LLaMA-Factory, by native libraries) goes to
the log, because the standard streams are pointed there before anything is imported.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec


def divert_output(log_path: Path) -> TextIO:
    """Point stdout and stderr at the log; give the stream that still reaches the front end."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return events


def divert_input() -> TextIO:
    """Leave stdin empty; give the stream that the requests still come by.

    A library that asks a question there would take a request for the answer.
    """
    stream = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for the whole process
    return stream


class Events:
    """The stream of events. Of the processes of a node only the first speaks, and whoever fails:
    the others are then ended, and know nothing of the cause."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._speaks = int(os.environ.get("LOCAL_RANK", "0")) == 0
        self._part = ""
        self._began = 0.0
        self._seconds: dict[str, float] = {}

    def send(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write one event; a front end that has gone away is not an error of the training.

        A number that is not finite is sent as null: JSON has none.
        """
        if not self._speaks and event != "error":
            return
        line = msgspec.json.encode({"event": event, **fields}, enc_hook=str)
        try:
            self._stream.write(line.decode() + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._speaks = False

    def progress(self, done: float, total: float | None = None, **facts: Any) -> None:
        """How far the stage is; `facts` are step, loss, learning_rate, tokens_per_second ..."""
        self.send("progress", {"done": done, "total": total, "facts": facts})

    def stage(self, name: str, total: float | None = None, unit: str = "") -> None:
        """A part of the request begins that a person waits for by itself."""
        self.part(name)
        self.send("stage", {"name": name, "total": total, "unit": unit})

    def part(self, name: str) -> None:
        """A part begins that is only timed."""
        self._end_part()
        self._part, self._began = name, time.monotonic()

    def seconds(self) -> dict[str, float]:
        """How long each part took since this was asked last."""
        self._end_part()
        found, self._seconds = self._seconds, {}
        return found

    def _end_part(self) -> None:
        if self._part:
            spent = time.monotonic() - self._began
            self._seconds[self._part] = round(self._seconds.get(self._part, 0.0) + spent, 3)
        self._part = ""

    def note(self, text: str) -> None:
        """One line for the user."""
        self.send("note", {"text": text})
