"""`runs compare`: what differs in several runs, beside how their scores differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fine_tuning import report
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.output.tables import print_table
from fine_tuning.cli.runs.summary import RunSummary, of_record
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk.paths import absolute, shown
from fine_tuning.errors import DataError, UsageError
from fine_tuning.escaping import visible
from fine_tuning.report.compare import Compared, Comparison, Difference
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record

if TYPE_CHECKING:
    from rich.table import Table

OUR_PAGE = b'<meta name="generator" content="compare page">'

UNREADABLE = (
    "put a whole copy of it back; or start the run again by its command with --restart (the old "
    "state is moved aside)"
)


@dataclass(frozen=True, kw_only=True)
class RunsCompared:
    """Several runs beside each other."""

    runs: Annotated[tuple[RunSummary, ...], "in the order in which they were named"]
    comparison: Annotated[Comparison, "what differs, and how the scores differ"]
    page: Annotated[Path, "the same with the curves over each other"]


def run(job: Resolved) -> Outcome[RunsCompared]:
    """Print what differs, write the page."""
    words: Sequence[str] = job.options["run"] or ()
    if len(words) < 2:
        raise UsageError("`runs compare` takes two runs or more: their folders.")
    runs = named_runs(words)
    page = job.options["page"] or runs[0].path.parent / "compare.html"
    refuse_page(page)
    comparison = report.compare(runs)
    show(comparison)
    report.write_comparison(page, comparison, report.curves_beside(runs), job.spec.lang)
    print(visible(f"\nWith the curves over each other: {shown(page)}"))
    summaries = tuple(of_record(run.path, run.record) for run in runs)
    return Outcome(RunsCompared(runs=summaries, comparison=comparison, page=page))


def named_runs(words: Sequence[str]) -> list[Compared]:
    """The runs in these folders, each by the part of its path that tells it from the others.

    Raises UsageError for folders without a run and DataError for a record that cannot be read.
    """
    paths = [absolute(word) for word in words]
    double = {str(path) for path in paths if paths.count(path) > 1}
    if double:
        raise UsageError(f"{', '.join(sorted(double))} is named twice.")
    records = [read_record(RunFolder(path), UNREADABLE) for path in paths]
    if missing := [str(path) for path, record in zip(paths, records, strict=True) if not record]:
        raise UsageError(
            [f"{path} holds no run (run.json)." for path in missing],
            fix="`runs` lists those below a directory",
        )
    above = Path(commonpath([path.parent for path in paths]))
    return [
        Compared(name=str(path.relative_to(above)), path=path, record=record)
        for path, record in zip(paths, records, strict=True)
        if record is not None
    ]


def refuse_page(page: Path) -> None:
    """Raise DataError if the page would take the place of a file that is none of ours."""
    if not page.exists():
        return
    ours = page.is_file() and OUR_PAGE in page.read_bytes()[: 1 << 17]
    if not ours:
        raise DataError(
            f"{page} exists and is no comparison of runs; it is not overwritten.",
            fix="give --page a new file name",
        )


def show(comparison: Comparison) -> None:
    """The differences and the scores as tables."""
    for title, rows, none in (
        ("Settings", comparison.settings, "The settings are the same."),
        ("Data", [it for it in comparison.data if it.differs], data_text(comparison)),
        ("Versions", comparison.versions, "The versions are the same."),
    ):
        if rows:
            print_table(differences_table(title, rows, comparison.names))
        else:
            print(visible(none))
        print()
    for line in score_lines(comparison):
        print(visible(line))


def score_lines(comparison: Comparison) -> Iterator[str]:
    """Each metric of all runs, and what is said of it against the first; what is said of every
    metric of a run alike is said once."""
    first, scores = comparison.names[0], comparison.scores
    if not scores:
        yield "No held-out rows were scored."
        return
    said = [
        {it.says for it in changes if it is not None}
        for changes in zip(*(score.changes for score in scores), strict=True)
    ]
    for score in scores:
        texts = zip(comparison.names, score.texts, strict=True)
        yield f"{score.name}: {', '.join(f'{name} {text}' for name, text in texts)}"
        for name, change, alike in zip(comparison.names, score.changes, said, strict=True):
            if change is not None and len(alike) > 1:
                yield f"  {name} against {first}: {change.says}"
    for name, alike in zip(comparison.names, said, strict=True):
        if len(alike) == 1:
            yield f"{name} against {first}, in all of these: {next(iter(alike))}"


def data_text(comparison: Comparison) -> str:
    """That the data is the same, if it is known."""
    if not comparison.same_data:
        return "Of the data of one of them nothing is known."
    known = {line.name: line.values[0] for line in comparison.data}
    return f"The same data: {known['files']}, {known['rows kept']} rows."


def differences_table(title: str, rows: Sequence[Difference], names: Sequence[str]) -> "Table":
    """One line a difference, one column a run."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in (title, *names):
        made.add_column(Text(visible(name)), overflow="fold")
    for row in rows:
        cells = (row.name, *("-" if value is None else value for value in row.values))
        made.add_row(*(Text(visible(cell)) for cell in cells))
    return made
