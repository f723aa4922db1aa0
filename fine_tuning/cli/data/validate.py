"""`validate`: says of every row of a dataset whether it is usable; needs no model and no torch."""

import filecmp
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.output.report_place import refuse_report_place, workplace
from fine_tuning.cli.screens.screen import PLAIN_WIDTH, open_screen
from fine_tuning.dataset.account.ledger import write_report
from fine_tuning.dataset.account.report import copy_whole
from fine_tuning.dataset.check import account, download
from fine_tuning.disk import files
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED, FineTuningError
from fine_tuning.escaping import visible
from fine_tuning.screen import Screen, downloading
from fine_tuning.units import counted, percent_text
from fine_tuning.values.codec import to_json
from fine_tuning.values.data import CheckedData, FileAccount, Problem
from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.spec import DataSpec
from fine_tuning.values.tokens import TokenLook

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MOST_FILES = 20


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What the model's tokenizer makes of the usable rows."""

    template: Annotated[str | None, "LLaMA-Factory's name; null: the model's own chat template"]
    cutoff: Annotated[int, "as given, or chosen by the lengths"]
    total: Annotated[int, "tokens of all rows"]
    percentiles: Annotated[Mapping[str, int], "tokens a row, from min to max"]
    overlong: Annotated[int, "rows over the cutoff"]

    @classmethod
    def of(cls, look: TokenLook) -> "Tokens":
        """What the worker has found."""
        return cls(
            template=look.template.name,
            cutoff=look.cutoff,
            total=look.tokens,
            percentiles=look.percentiles,
            overlong=len(look.overlong),
        )


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What a check found; --report writes every problem by itself. read == kept + dropped."""

    usable: Annotated[bool, "whether no problem is an error"]
    format: Annotated[str, "how the rows are shaped; mixed: see files"]
    files: Annotated[tuple[FileAccount, ...], "what became of each"]
    rows_read: Annotated[int, "records of all files"]
    rows_kept: Annotated[int, "usable ones"]
    rows_dropped: Annotated[int, "the others"]
    problems: Annotated[tuple[ProblemGroup, ...], "by cause"]
    notes: Annotated[tuple[str, ...], "what else was found"] = ()
    report: Annotated[Path | None, "every problem, if --report was given"] = None
    page: Annotated[Path | None, "the same as a page"] = None
    rejected: Annotated[Path | None, "the dropped rows as they were"] = None
    tokens: Annotated[Tokens | None, "with --model_name_or_path"] = None


def run(
    spec: DataSpec,
    report: Path | None,
    *,
    validation_paths: Sequence[str] = (),
    after: Callable[[CheckedData, Screen], TokenLook | None] | None = None,
    lang: str | None = None,
) -> Outcome[Validated]:
    """Check the data, print what was found, write the report.

    The exit code is 1 exactly if some problem is an error. With a report, the dropped rows lie
    beside it. `after` looks further at the usable rows; what it finds of their tokens is shown on
    the page and kept beside the report. If it is refused, that is said after the account.
    `lang` is the page's language; None: both.
    """
    look, refused = None, None
    if report is not None:
        named = (*spec.dataset_path, *spec.mix, *validation_paths)
        refuse_report_place(report, named)
    with workplace(report) as folder, open_screen() as screen, _stopped_report(report, spec):
        with downloading(screen, "fetch_data", ", ".join(spec.dataset_path)) as on_bytes:
            download(spec, validation_paths, on_bytes)
        screen.begin("read", None, "bytes")
        data = account(
            spec,
            out_dir=folder,
            validation_paths=validation_paths,
            progress=lambda at: screen.advance(at.done, at.total),
            name_leaks=True,
        )
        screen.end(f"{counted(data.rows_read, 'row')} in {counted(len(data.files), 'file')}")
        rejected = _deliver(data, report) if report else None
        try:
            look = after(data, screen) if after is not None and data.rows_kept else None
        except FineTuningError as error:
            refused = error
            screen.end("stopped")
        page = _write_page(data, report, rejected, look, lang) if report else None
    _show(data, report=report, rejected=rejected, page=page)
    if refused is not None:
        raise refused
    found = Validated(
        usable=exit_code(data) == EXIT_DONE,
        format=data.format,
        files=data.files,
        rows_read=data.rows_read,
        rows_kept=data.rows_kept,
        rows_dropped=data.rows_dropped,
        problems=data.problems,
        notes=tuple(data.findings.get("notes", ())),
        report=report,
        page=page,
        rejected=rejected,
        tokens=None if look is None else Tokens.of(look),
    )
    return Outcome(found, exit_code(data))


@contextmanager
def _stopped_report(report: Path | None, spec: DataSpec) -> Iterator[None]:
    """No report of an earlier check stays; one that cannot start, or stops, says so in its own."""
    if report is None:
        yield
        return
    for older in (report, report.with_suffix(".html"), report.with_suffix(".tokens.json")):
        older.unlink(missing_ok=True)
    try:
        yield
    except FineTuningError as error:
        if report.exists():  # the account stands; what came after it was refused
            raise
        head = {"format": "unknown", "files": [], "rows_read": 0, "rows_kept": 0, "rows_dropped": 0}
        paths = ", ".join((*spec.dataset_path, *spec.mix))
        problem = Problem(paths, None, None, "start_failed", str(error), "error")
        write_report(report, head, [problem], lambda: {"counts": {"start_failed": 1}})
        raise


def exit_code(data: CheckedData) -> int:
    """1 if some problem is an error, else 0."""
    failed = any(group.severity == "error" for group in data.problems)
    return EXIT_FAILED if failed else EXIT_DONE


def render(
    data: CheckedData,
    console: "Console",
    *,
    report: Path | None = None,
    rejected: Path | None = None,
    page: Path | None = None,
) -> None:
    """The account of each file, the problems by cause, and the verdict."""
    from rich.text import Text

    from fine_tuning.cli.screens.tables import problems_list

    console.print(_accounts(data))
    for line in _evidence(data.files):
        console.print(Text(visible(line)))
    if data.problems:
        console.print()
        groups = data.problems
        shown = [replace(g, first=_name(g.first)) for g in groups]
        console.print(problems_list(shown), soft_wrap=True)
    for note in data.findings.get("notes", ()):
        console.print(Text(visible(f"note: {note}")))
    console.print()
    console.print(_verdict(data))
    if report:
        as_page = f", as a page: {page}" if page else ""
        console.print(Text(visible(f"report: {report}{as_page}")))
    if rejected:
        console.print(Text(visible(f"dropped rows, to mend and check again: {rejected}")))
    elif data.rows_dropped and not report:
        console.print(Text("--report FILE.json names every problem and keeps the dropped rows"))


def _evidence(files: Sequence[FileAccount]) -> Iterator[str]:
    """Why the files are read as they are: one line for all that are read for the same reason."""
    alike: dict[str, list[str]] = {}
    for file in files:
        if file.evidence:
            named = file.evidence.startswith("named by")
            why = file.evidence if named else f"by {file.evidence}"
            alike.setdefault(f"{file.format}, {why}", []).append(_name(file.path))
    for why, (first, *others) in list(alike.items())[:MOST_FILES]:
        more = f" and {counted(len(others), 'more file')}" if others else ""
        yield f"{first}{more}: {why}"


def _accounts(data: CheckedData) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("format")
    for name in ("read", "kept", "dropped"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = sorted(data.files, key=lambda file: -file.rows_dropped)[:MOST_FILES]
    for file in data.files:
        if file in shown:
            table.add_row(
                Text(_name(file.path)),
                file.format if file.split == "train" else f"{file.format} ({file.split})",
                *(f"{n:,}" for n in (file.rows_read, file.rows_kept, file.rows_dropped)),
            )
    if len(data.files) > len(shown):
        table.add_row(f"... and {len(data.files) - len(shown):,} more files", "", "", "", "")
    if len(data.files) > 1:
        total = (data.rows_read, data.rows_kept, data.rows_dropped)
        table.add_row("together", data.format, *(f"{count:,}" for count in total), style="bold")
    return table


def _verdict(data: CheckedData) -> "RenderableType":
    from rich.text import Text

    errors = [group for group in data.problems if group.severity == "error"]
    files = sum(group.files for group in errors)
    warnings = sum(group.count for group in data.problems if group.severity == "warning")
    also = f"; {counted(warnings, 'warning')}" if warnings else ""
    lost = sum(g.count - g.files for g in data.problems if g.effect == "loss")
    if not errors:
        dropped = f", {counted(data.rows_dropped, 'repeat')} dropped" if data.rows_dropped else ""
        all_rows = ("the " if data.rows_kept == 1 else "all ") + counted(
            data.rows_kept, "row is", "rows are"
        )
        if lost:
            text = f"USABLE, BUT NOT ALL OF IT: {all_rows} usable{dropped}; in"
            text += f" {counted(lost, 'place')} something of them is not trained{also}"
            return Text(text, style="bold yellow")
        return Text(f"OK: {all_rows} usable{dropped}{also}", style="green")
    if data.rows_read and data.rows_dropped:
        share = percent_text(data.rows_dropped / data.rows_read)
        text = f"NOT OK: {data.rows_dropped:,} of {data.rows_read:,} rows ({share}) are unusable"
        if files:
            text += f", and {_unusable_files(files)}"
    else:
        usable = counted(data.rows_kept, "row is", "rows are")
        text = f"NOT OK: {_unusable_files(files)}; {usable} usable"
    return Text(text + also, style="bold red")


def _unusable_files(count: int) -> str:
    return counted(count, "file cannot be used as it is", "files cannot be used as they are")


def _name(path: str) -> str:
    """A path for a line of the terminal: a file name may hold a line break or an escape."""
    # A path relative to the working directory where it lies below it.
    return visible(path.removeprefix(str(Path.cwd()) + "/")).replace("\n", "\\n")


def _show(
    data: CheckedData, *, report: Path | None, rejected: Path | None, page: Path | None
) -> None:
    """On a terminal in colour and its width; elsewhere plain lines of 80 columns."""
    from rich.console import Console

    if sys.stdout.isatty():
        render(data, Console(highlight=False), report=report, rejected=rejected, page=page)
        return
    text = io.StringIO()
    plain = Console(file=text, width=PLAIN_WIDTH, color_system=None, highlight=False)
    render(data, plain, report=report, rejected=rejected, page=page)
    for line in text.getvalue().splitlines():
        print(visible(line.rstrip()))


def _write_page(
    data: CheckedData, report: Path, rejected: Path | None, look: TokenLook | None, lang: str | None
) -> Path:
    """The same as a page, beside the report; the look at the tokens also as JSON."""
    from fine_tuning.cli.data.data_page import data_facts
    from fine_tuning.report import write_data_report

    if look is not None:
        text = json.dumps(to_json(look), ensure_ascii=False, indent=1)
        files.write_text(report.with_suffix(".tokens.json"), text + "\n")
    names = {"rejected": str(rejected or ""), "report": str(report)}
    facts = data_facts(data, look, **names)
    return write_data_report(report.with_suffix(".html"), facts, lang)


def _deliver(data: CheckedData, report: Path) -> Path | None:
    """Puts the report and the dropped rows in place; gives where the dropped rows are.

    An older file of dropped rows, which somebody may be mending, is never overwritten.
    """
    copy_whole(data.report_path, report)
    target = report.with_name("rejected.jsonl")
    dropped = data.rejected_path.stat().st_size > 0
    sources = {Path(file.path).resolve() for file in data.files}
    if target.exists() and not (dropped and filecmp.cmp(target, data.rejected_path, False)):
        if target.resolve() in sources:
            target = files.free_name(target)
        else:
            target.replace(files.free_name(target))
    if not dropped:
        return None
    copy_whole(data.rejected_path, target)
    return target
