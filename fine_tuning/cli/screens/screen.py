"""Where a job's words go: a live terminal, or plain lines for logs, pipes and CI."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fine_tuning.cli.screens.progress import Progress, count_text, describe, fitting, stage_text
from fine_tuning.escaping import visible
from fine_tuning.screen import Screen
from fine_tuning.units import duration_text
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_WIDTH = 80
_EVERY_SHARE = 0.1
_EVERY_SECONDS = 30.0


def is_live(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal on which a line can be drawn again."""
    return stream.isatty() and env.get("TERM") != "dumb" and not env.get("CI")


@contextmanager
def open_screen(
    stream: TextIO | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """The screen that suits `stream` (default: standard output); leaves the terminal as it was.

    Leave it before printing an error, so that no progress bar is drawn over the message.
    """
    out = sys.stdout if stream is None else stream
    settings = os.environ if env is None else env
    if isinstance(out, io.TextIOWrapper):
        # An ASCII locale or half an emoji in a row must not end the run.
        out.reconfigure(errors="backslashreplace")
    if is_live(out, settings):
        # rich's live display takes 0.1 s to import: only where there is something to draw on.
        from fine_tuning.cli.screens.terminal import TerminalScreen

        screen: TerminalScreen | PlainScreen = TerminalScreen(
            out, no_color=bool(settings.get("NO_COLOR"))
        )
    else:
        screen = PlainScreen(out)
    try:
        yield screen
    finally:
        screen.close()


class PlainScreen:
    """Lines without any control character: at each 10%, every 30 s, and at each evaluation."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage: Progress | None = None
        self._said: tuple[float, float] = (0.0, 0.0)  # when, and at which share

    def say(self, text: str) -> None:
        self._write(visible(text))

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def begin(self, stage: str, total: float | None = None, unit: str = "") -> None:
        self.close()
        now = self._clock()
        self._stage = Progress(stage=stage, total=total, unit=unit, began=now)
        self._said = (now, 0.0)
        size = "" if total is None else f", {count_text(total, None, unit)}"
        self.say(f"{stage_text(stage)}{size} ...")

    def advance(
        self,
        done: float,
        total: float | None = None,
        *,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        if self._stage is None:
            return
        now = self._clock()
        self._stage = self._stage.advanced(now, done, total, facts or {})
        when, share = self._said
        reached = self._stage.share or 0.0
        due = reached - share >= _EVERY_SHARE - 1e-9 or now - when >= _EVERY_SECONDS
        if due or "eval_loss" in self._stage.facts:
            # Whole tenths, so that the lines stay at 10%, 20% ... however large the steps are.
            self._said = (now, max(share, int(reached / _EVERY_SHARE + 1e-9) * _EVERY_SHARE))
            percent = "" if self._stage.share is None else f"{self._stage.share:4.0%}  "
            said = fitting(describe(self._stage, now), PLAIN_WIDTH - 2 - len(percent))
            self.say(f"  {percent}{said}")

    def end(self, outcome: str) -> None:
        if self._stage is None:
            return
        took = duration_text(self._clock() - self._stage.began)
        name = stage_text(self._stage.stage)
        self._stage = None
        self.say(f"{name}: {outcome or 'done'} [{took}]")

    def choices(self, rows: Sequence[Choice]) -> None:
        from fine_tuning.cli.screens.tables import choices_table

        self._print(choices_table(rows))

    def file(self, path: Path, text: str) -> None:
        self.say(f"----- {path}")
        self.say(text.rstrip("\n"))
        self.say("-----")

    def problems(self, groups: Sequence[ProblemGroup]) -> None:
        from fine_tuning.cli.screens.tables import problems_list

        self._print(problems_list(groups), soft_wrap=True)

    def masked(self, rows: Sequence[MaskedRow]) -> None:
        from fine_tuning.cli.screens.tables import masked_in_words

        self._print(masked_in_words(rows))

    def close(self) -> None:
        """Says where an unfinished stage stopped."""
        stage, self._stage = self._stage, None
        if stage is not None:
            where = count_text(stage.done, stage.total, stage.unit)
            self.say(f"{stage_text(stage.stage)}: stopped at {where}")

    def _print(self, what: "RenderableType", *, soft_wrap: bool = False) -> None:
        """Laid out by rich (which knows the width of Chinese text), without its padding."""
        from rich.console import Console

        page = io.StringIO()
        console = Console(file=page, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
        console.print(what, soft_wrap=soft_wrap)
        for line in page.getvalue().splitlines():
            self._write(visible(line.rstrip()))

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()
