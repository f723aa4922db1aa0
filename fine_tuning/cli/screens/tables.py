"""What is printed besides progress: settings, problems, rows, files. The same on both screens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fine_tuning.escaping import visible
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup

_SOURCES = {"you": "yours", "config": "from --config", "preset": "from --preset"}


NARROW = 70  # columns below which three columns of text break words


@dataclass(frozen=True)
class ChoicesTable:
    """Settings with value and reason, in the order given; below each other where it is narrow."""

    rows: Sequence[Choice]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= NARROW:
            yield _three_columns(self.rows)
            return
        for row in self.rows:
            yield Text.assemble((visible(row.name), "bold"), f": {visible(row.value)}")
            yield Padding(Text(visible(_why(row)), style="dim"), (0, 0, 0, 2))


def choices_table(rows: Sequence[Choice]) -> RenderableType:
    """The table of settings before a run."""
    return ChoicesTable(rows)


def _three_columns(rows: Sequence[Choice]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=34)
    table.add_column("why", overflow="fold", min_width=16, style="dim")
    for row in rows:
        given = row.source in _SOURCES
        table.add_row(
            Text(visible(row.name)),
            Text(visible(row.value), style="bold" if given else ""),
            Text(visible(_why(row))),
        )
    return table


def _why(choice: Choice) -> str:
    if choice.source in _SOURCES:
        source = _SOURCES[choice.source]
        return f"{source}: {choice.reason}" if choice.reason else source
    return choice.reason or choice.source


def problems_list(groups: Sequence[ProblemGroup]) -> RenderableType:
    """One paragraph per cause: how many rows and what, where first, and what to do. Long commands
    stand below, each on one line (print with soft_wrap), so that they can be copied."""
    ordered = sorted(groups, key=lambda group: (_rank(group), -group.count))
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for group in ordered:
        plain = ("error", "bold red") if group.severity == "error" else ("warning", "bold yellow")
        word, style = _WORDS.get(group.effect, plain)
        table.add_row(Text(word, style=style), _cause(group))
    commands = [command for group in ordered for command in _COMMAND.findall(group.example)]
    return Group(table, *(Text(f"\n{visible(command)}") for command in commands))


_COMMAND = re.compile(r"`([^`]{50,})`")

# What stands before a problem: what is lost looks different from what is harmless.
_WORDS = {
    "question": ("question", "bold red"),
    "loss": ("NOT TRAINED", "bold yellow reverse"),
    "repair": ("repaired", "dim"),
}


def _rank(group: ProblemGroup) -> int:
    """Questions and errors first, then what is lost, then doubts, then what was repaired."""
    if group.severity == "error":
        return 0 if group.effect == "question" else 1
    return {"loss": 2, "": 3}.get(group.effect, 4)


def _cause(group: ProblemGroup) -> Text:
    text = Text.assemble(
        (f"{group.counted}: ", "bold"), visible(group.message), (f" [{visible(group.code)}]", "dim")
    )
    if group.first:
        example = _COMMAND.sub("(the command below)", group.example)
        found = f": {visible(example)}" if example else ""
        text.append(f"\nfirst at {visible(group.first)}{found}")
    if group.suggestion:
        text.append(f"\nnext: {visible(group.suggestion)}")
    return text


def masked_in_colour(rows: Sequence[MaskedRow]) -> RenderableType:
    """Trained text green and bold, masked text dim, in one flow as the model reads it."""
    shown: list[RenderableType] = [
        Text.assemble(("trained", "bold green"), "  ", ("masked", "dim"))
    ]
    for row in rows:
        text = Text()
        for span in row.spans:
            text.append(visible(span.text), style="bold green" if span.trained else "dim")
        shown += (Text(visible(row.title), style="bold"), Padding(text, (0, 0, 1, 2)))
    return Group(*shown)


def masked_in_words(rows: Sequence[MaskedRow]) -> RenderableType:
    """Each span on lines of its own behind `trained` or `masked`, for output without colour."""
    shown: list[RenderableType] = []
    for row in rows:
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for span in row.spans:
            table.add_row(
                "trained |" if span.trained else "masked  |",
                Text(visible(span.text).replace("\n", "\\n\n").removesuffix("\n")),
            )
        shown += (Text(visible(row.title)), Padding(table, (0, 0, 1, 2)))
    return Group(*shown)
