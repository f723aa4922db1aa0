"""`runs`: the runs below a directory, the newest first."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.output.tables import print_table
from fine_tuning.cli.runs.summary import RunSummary, summary_of
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk.paths import shown
from fine_tuning.errors import UsageError
from fine_tuning.escaping import visible
from fine_tuning.units import duration_text, percent_text

if TYPE_CHECKING:
    from rich.table import Table

USUAL = Path("runs")
# The shares that can stand for a run. One that is as good as none says nothing: then the loss does.
SHARES = {"reward_accuracy": "reward accuracy", "exact_match": "right"}
COLUMNS = ("run", "state", "model", "data", "method", "before -> after", "took", "began")
NARROW = ("state", "took", "began")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The runs below a directory."""

    directory: Annotated[Path, "where they were looked for"]
    runs: Annotated[tuple[RunSummary, ...], "the newest first; unreadable ones come last"]


def run(job: Resolved) -> Outcome[Listed]:
    """List them; one that cannot be read is a line that says so."""
    words: Sequence[str] = job.options["directory"] or ()
    if len(words) > 1:
        raise UsageError("`runs` lists one directory; `runs compare` takes several runs.")
    directory = Path(words[0]) if words else USUAL
    if not directory.is_dir():
        raise UsageError(
            f"There is no directory {directory}.", fix="name the one that your runs lie in"
        )
    found = newest_first(directory)
    if found:
        print_table(table(found, directory))
        for item in found:
            if item.trouble:
                print(visible(f"{shown_below(item.path, directory)}: {item.trouble}"))
    else:
        print(visible(f"No run lies in {directory} or below."))
    return Outcome(Listed(directory=directory, runs=tuple(found)))


def newest_first(directory: Path) -> list[RunSummary]:
    """The runs below a directory; those without a date come last."""
    return sorted(map(summary_of, run_folders(directory)), key=lambda it: -(it.created or 0))


def run_folders(directory: Path) -> Iterator[Path]:
    """Every folder with a run.json, the directory itself among them; of a run nothing inside."""
    for folder, below, files in os.walk(directory):
        if "run.json" in files:
            below[:] = [name for name in below if name.startswith("node-")]
            yield Path(folder)
        else:
            below[:] = sorted(name for name in below if not name.startswith("."))


def table(found: Sequence[RunSummary], directory: Path) -> "Table":
    """One line a run."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(COLUMNS):
        made.add_column(
            name,
            overflow="fold",
            no_wrap=name in NARROW,
            min_width=12 if place == 0 else None,
            justify="right" if name in ("took", "began") else "left",
        )
    for item in found:
        made.add_row(*(Text(visible(cell)) for cell in cells(item, directory)))
    return made


def cells(item: RunSummary, directory: Path) -> tuple[str, ...]:
    """One run as words, in the order of COLUMNS; one that cannot be read has only two."""
    name = shown_below(item.path, directory)
    if item.state == "unreadable":
        return (name, item.state, *("" for _ in COLUMNS[2:]))
    return (
        name,
        state_text(item),
        Path(item.model).name,
        ", ".join(Path(path).name for path in item.data),
        method_text(item),
        score_text(item),
        duration_text(item.seconds),
        time.strftime("%m-%d %H:%M", time.localtime(item.created)),
    )


def shown_below(path: Path, directory: Path) -> str:
    """The run's name below the directory that was listed."""
    return shown(path) if path == directory else str(path.relative_to(directory))


def state_text(item: RunSummary) -> str:
    """The state, with how far a run is that goes on or has stopped."""
    if item.state in ("running", "interrupted", "ended") and item.steps:
        return f"{item.state} {percent_text(item.step / item.steps)}"
    return item.state.replace("_", " ")


def method_text(item: RunSummary) -> str:
    """`lora sft`, `lora 4bit dpo`."""
    bits = "" if item.quantization == "none" else item.quantization
    return " ".join(part for part in (item.method, bits, item.stage) if part)


def score_text(item: RunSummary) -> str:
    """The score that says most: a share of right answers, unless there are none, else the
    reward or the loss."""
    for name, title in SHARES.items():
        share = item.scores.get(name)
        if share and max(share.before or 0, share.after or 0) > 0:
            return f"{title} {_share(share.before)} -> {_share(share.after)}"
    for name in ("reward", "loss"):
        if found := item.scores.get(name):
            return f"{name} {_number(found.before)} -> {_number(found.after)}"
    return ""


def _share(value: float | None) -> str:
    return "?" if value is None else percent_text(value)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
