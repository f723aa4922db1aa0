"""The live terminal: one progress bar with the facts of the stage, words above it."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import rich.progress
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Column
from rich.text import Text

from fine_tuning.cli.screens.progress import (
    Progress,
    count_text,
    describe,
    fitting,
    stage_text,
)
from fine_tuning.cli.screens.tables import (
    choices_table,
    masked_in_colour,
    problems_list,
)
from fine_tuning.escaping import visible
from fine_tuning.units import duration_text
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup

_SHORTEST_BAR = 8
_LEXERS = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


class _Facts(rich.progress.ProgressColumn):
    """The part of the bar that is ours; drawn at each refresh, so that the time left runs."""

    def __init__(self, draw: Callable[[], str]) -> None:
        super().__init__(table_column=Column(no_wrap=True))  # the bar shrinks, not the facts
        self._draw = draw

    def render(self, task: rich.progress.Task) -> Text:
        return Text(self._draw(), no_wrap=True, overflow="ellipsis")


class TerminalScreen:
    """One bar at a time; it disappears when its stage ends and leaves one line behind."""

    def __init__(
        self,
        stream: TextIO,
        *,
        no_color: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = Console(
            file=stream, force_terminal=True, no_color=no_color or None, highlight=False
        )
        self._clock = clock
        self._stage: Progress | None = None
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None

    def say(self, text: str) -> None:
        self._console.print(Text(visible(text)))

    def warn(self, text: str) -> None:
        self._console.print(Text.assemble(("warning: ", "bold yellow"), visible(text)))

    def begin(self, stage: str, total: float | None = None, unit: str = "") -> None:
        self.close()
        self._stage = Progress(stage=stage, total=total, unit=unit, began=self._clock())
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=None),
            _Facts(self._facts),
            console=self._console,
            transient=True,
            expand=True,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(stage_text(stage), total=total)
        self._bar.start()

    def _facts(self) -> str:
        stage = self._stage
        if stage is None:
            return ""
        if stage.first is None:
            return duration_text(self._clock() - stage.began)
        taken = len(stage_text(stage.stage)) + _SHORTEST_BAR + 2
        parts = describe(stage, self._clock())
        if stage.stage == "train":
            # The bar and its count say it already; 80 columns are few.
            parts = [part for part in parts if part[0] not in ("epoch", "eval_loss")]
            parts[0] = ("count", count_text(stage.done, stage.total, ""))
        return fitting(parts, self._console.width - taken)

    def advance(
        self,
        done: float,
        total: float | None = None,
        *,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        if self._stage is None or self._bar is None or self._task is None:
            return
        now = self._clock()
        self._stage = self._stage.advanced(now, done, total, facts or {})
        self._bar.update(self._task, completed=done, total=self._stage.total)
        if "eval_loss" in self._stage.facts:
            parts = dict(describe(self._stage, now))
            kept = [parts[name] for name in ("count", "eval_loss", "epoch") if name in parts]
            self._console.print(Text("  " + "  ".join(kept)))

    def end(self, outcome: str) -> None:
        stage = self._stage
        self._stop()
        if stage is not None:
            took = duration_text(self._clock() - stage.began)
            mark = "*" if self._console.options.ascii_only else "✓"
            self._console.print(
                Text.assemble(
                    (f"{mark} ", "green"),
                    (stage_text(stage.stage), "bold"),
                    f"  {visible(outcome)}  " if outcome else "  ",
                    (took, "dim"),
                )
            )

    def choices(self, rows: Sequence[Choice]) -> None:
        self._console.print(choices_table(rows))

    def file(self, path: Path, text: str) -> None:
        self._console.print(Rule(visible(str(path)), align="left", style="dim"))
        lexer = _LEXERS.get(path.suffix, "text")
        code = Syntax(
            visible(text).rstrip("\n"),
            lexer,
            theme="ansi_dark",
            background_color="default",
            word_wrap=True,
        )
        self._console.print(code)

    def problems(self, groups: Sequence[ProblemGroup]) -> None:
        self._console.print(problems_list(groups), soft_wrap=True)

    def masked(self, rows: Sequence[MaskedRow]) -> None:
        self._console.print(masked_in_colour(rows))

    def close(self) -> None:
        """Gives the terminal back; says where an unfinished stage stopped."""
        stage = self._stage
        self._stop()
        if stage is not None:
            where = count_text(stage.done, stage.total, stage.unit)
            self.say(f"{stage_text(stage.stage)}: stopped at {where}")

    def _stop(self) -> None:
        bar, self._bar, self._task = self._bar, None, None
        if bar is not None:
            bar.stop()
        self._stage = None
