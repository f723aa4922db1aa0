"""From the parts of all files to the account: rows joined, content looked at, report written."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from fine_tuning.dataset.account.join import JoinedRows, join_rows
from fine_tuning.dataset.account.ledger import Places, ReadFile, Tally, in_order, write_report
from fine_tuning.dataset.insight.findings import Findings
from fine_tuning.dataset.insight.near.find import DEFAULT_ROWS
from fine_tuning.dataset.insight.near.keys import read_keys
from fine_tuning.dataset.insight.near.leaks import RowFile, find_leaks, report_leaks
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.prepare.media_files import content_key
from fine_tuning.dataset.problems import cause_of
from fine_tuning.values.data import CheckedData, FileAccount, Problem
from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.spec import DataSpec
from fine_tuning.values.tables.kinds import KINDS, Kind

REPORT = "report.json"
Look = Callable[..., Findings]  # insight.examine


def write(
    files: Sequence[ReadFile],
    spec: DataSpec,
    out_dir: Path,
    look: Look | None,
    *,
    name_leaks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckedData:
    """Joins the parts of all files in `out_dir`, looks at the content, and gives the account.

    `name_leaks`: also name training rows that the validation rows hold, as a split would do.
    `progress` is told by the look at the content: (rows done, rows in all).
    """
    kind = _kind_of_most_rows(files)
    rare = {name for file in files for part in file.parts for name in part.result.rare_columns}
    columns = KINDS[kind].columns | rare
    rows = join_rows(files, out_dir, dedup=spec.dedup, typed_columns=columns if rare else None)
    dropped = rows.dropped()
    accounts = tuple(_account(file, dropped[id(file)]) for file in files)
    found = _of_other_kinds(accounts, kind)
    look = partial(look, progress=progress) if look else None
    content = _examine(files, rows, spec, found, look) if rows.kept and look else None
    findings = _findings(files, content)
    tally = Tally()
    leaks = _leaks(files, rows, spec) if name_leaks else []
    problems = in_order(files, [_duplicates(rows), found, leaks])
    read = sum(account.rows_read for account in accounts)
    head = _head(accounts, read, rows.kept)

    def tail() -> dict[str, Any]:
        findings["exact_repeats"] = tally.counts.get("duplicate_row", 0)
        causes = [asdict(group) for group in _groups(tally)]
        return {"causes": causes, "counts": tally.counts, "findings": findings}

    report_path = out_dir / REPORT
    write_report(report_path, head, tally.watch(problems), tail)
    return CheckedData(
        format=head["format"],
        kind=kind,
        files=accounts,
        rows_read=read,
        rows_kept=rows.kept,
        rows_dropped=read - rows.kept,
        rows_path=rows.path,
        origins_path=rows.origins_path,
        report_path=report_path,
        rejected_path=rows.rejected_path,
        fingerprint=content_key(rows.fingerprint, rows.path, rows.validation_path),
        validation_path=rows.validation_path,
        validation_origins_path=rows.validation_origins_path,
        validation_rows=rows.validation_rows,
        columns=columns,
        counts=tally.counts,
        findings=findings,
        problems=tuple(_groups(tally)),
    )


def put_in_place(data: CheckedData, folder: Path) -> CheckedData:
    """Moves the results into `folder`, in place of older ones; the report comes last, so that it
    always speaks of the rows beside it."""
    (folder / REPORT).unlink(missing_ok=True)
    for stale in (*folder.glob("rows.*"), *folder.glob("validation.*")):
        stale.unlink()
    made = [path for path in data.report_path.parent.iterdir() if path.is_file()]
    for path in sorted(made, key=lambda path: path.name == REPORT):
        path.replace(folder / path.name)
    moved: dict[str, Any] = {
        field.name: folder / value.name
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), Path)
    }
    return replace(data, **moved)


def _kind_of_most_rows(files: Sequence[ReadFile]) -> Kind:
    kinds: Counter[Kind] = Counter()
    for file in files:
        kinds[file.kind] += file.rows_kept
    return kinds.most_common(1)[0][0]


def _of_other_kinds(accounts: Sequence[FileAccount], kind: Kind) -> list[Problem]:
    """Files whose rows cannot be trained together with those of most rows."""
    return [
        Problem(
            account.path,
            None,
            None,
            "kind_differs",
            f"the file holds {account.kind} rows, most rows are {kind} rows",
            "error",
        )
        for account in accounts
        if account.rows_kept and account.kind != kind
    ]


def _head(accounts: Sequence[FileAccount], read: int, kept: int) -> dict[str, Any]:
    """The start of the report: format, files and counts."""
    formats = sorted({account.format for account in accounts if account.rows_kept})
    formats = formats or sorted({account.format for account in accounts})
    return {
        "format": formats[0] if len(formats) == 1 else "mixed",
        "files": [asdict(account) for account in accounts],
        "rows_read": read,
        "rows_kept": kept,
        "rows_dropped": read - kept,
    }


def _account(file: ReadFile, dropped: int) -> FileAccount:
    kept = file.rows_kept - dropped
    return FileAccount(
        path=file.source.name,
        format=file.plan.format or "unknown",
        kind=file.kind,
        encoding=file.encoding,
        sha256=file.sha256,
        rows_read=file.rows_read,
        rows_kept=kept,
        rows_dropped=file.rows_read - kept,
        evidence=file.evidence,
        split=file.source.split,
    )


def _duplicates(joined: JoinedRows) -> Iterator[Problem]:
    files = joined.files
    places = Places(files)
    for row, first in joined.repeats.rows():
        index, line, number = places.of(row)
        first_index, first_line, _ = places.of(first)
        name = files[index].source.name
        other = "" if first_index == index else f"{files[first_index].source.name}, "
        what = "dropped: the same as" if joined.gone[row] else "the same as"
        yield Problem(
            name, line, number, "duplicate_row", f"{what} {other}line {first_line}", "warning"
        )


def _examine(
    files: Sequence[ReadFile], rows: JoinedRows, spec: DataSpec, found: list[Problem], look: Look
) -> Findings:
    """The content checks; their warnings come without a record's number, which is added here."""
    names = [file.source.name for file in files]
    warnings: list[Problem] = []
    findings = look(
        rows.path,
        rows.origins_path,
        files=names,
        near_duplicates=spec.near_duplicates,
        problems=warnings.append,
    )
    found += _placed(warnings, files)
    return findings


def _leaks(files: Sequence[ReadFile], rows: JoinedRows, spec: DataSpec) -> list[Problem]:
    """The training rows that the validation data holds as well."""
    held_out, origins = rows.validation_path, rows.validation_origins_path
    if not rows.kept or held_out is None or origins is None:
        return []
    training = RowFile(rows.path, read_keys(rows.path))
    validation = RowFile(held_out, read_keys(held_out))
    near = spec.near_duplicates
    if near is None:
        near = len(training.keys) + len(validation.keys) <= DEFAULT_ROWS
    leaks = find_leaks(training, validation, near_duplicates=near)
    names = [file.source.name for file in files]
    warnings: list[Problem] = []
    ours, theirs = read_origins(rows.origins_path, names), read_origins(origins, names)
    report_leaks(leaks, ours, theirs, warnings.append)
    return list(_placed(warnings, files))


def _placed(warnings: Sequence[Problem], files: Sequence[ReadFile]) -> Iterator[Problem]:
    """Warnings in the order of files and rows, with the numbers of their records."""
    places = Places(files)
    names = [file.source.name for file in files]
    index_of = {name: index for index, name in reversed(list(enumerate(names)))}
    for problem in sorted(warnings, key=lambda p: (index_of.get(p.file, -1), p.line or 0)):
        row = problem.row
        if row is None and problem.line is not None:
            row = places.row_at(index_of[problem.file], problem.line)
        yield replace(problem, row=row)


def _findings(files: Sequence[ReadFile], content: Findings | None) -> dict[str, Any]:
    reasoning = sum(part.result.with_reasoning for file in files for part in file.parts)
    kept = sum(file.rows_kept for file in files)
    found: dict[str, Any] = {"reasoning": {"with": reasoning, "without": kept - reasoning}}
    found |= asdict(content) if content else {}
    notes = [note for file in files for note in file.source.notes]
    if 0 < reasoning < kept:
        mixed = f"{reasoning:,} of {kept:,} rows have reasoning (<think>), the others have none"
        notes.append(f"{mixed}: a model learns to reason now and then")
    found["notes"] = [*notes, *found.get("notes", ())]
    return found


def _groups(tally: Tally) -> Iterator[ProblemGroup]:
    """The causes, errors first, the most frequent first."""
    firsts = tally.first
    ordered = sorted(tally.groups.items(), key=lambda item: (item[0][1] != "error", -item[1]))
    for (code, severity), count in ordered:
        first = firsts[code, severity]
        cause = cause_of(code, severity)
        files = tally.files[code, severity]
        yield ProblemGroup(
            code=code,
            count=count,
            message=cause.title,
            example=first.message,
            first=first.place,
            suggestion=cause.fix,
            severity=severity,
            files=files,
            effect=cause.effect,
        )
