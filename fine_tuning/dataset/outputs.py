"""Writes what a check leaves: canonical rows with their origins, dropped rows, the report."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from fine_tuning.dataset.duplicates import repeat_mask, repeated_rows
from fine_tuning.dataset.formats import all_formats
from fine_tuning.dataset.insight import Findings
from fine_tuning.dataset.ledger import Places, ReadFile, Tally, in_order, write_report
from fine_tuning.dataset.media_table import write_typed
from fine_tuning.dataset.problems import cause_of
from fine_tuning.dataset.schedule import Part
from fine_tuning.dataset.sink import REJECTED, ROWS
from fine_tuning.dataset.types import CheckedData, FileAccount, Kind, Problem, ProblemGroup
from fine_tuning.spec import DataSpec

Look = Callable[..., Findings]  # insight.examine
ORIGIN = np.dtype([("file", "<u4"), ("line", "<u8")])
COLUMNS: dict[Kind, frozenset[str]] = {
    "chat": frozenset({"conversations", "system", "tools"}),
    "text": frozenset({"conversations"}),
    "preference": frozenset({"conversations", "system", "tools", "chosen", "rejected"}),
    "kto": frozenset({"conversations", "system", "tools", "label"}),
}


def write(
    files: Sequence[ReadFile], spec: DataSpec, out_dir: Path, look: Look | None
) -> CheckedData:
    """Joins the parts of all files in `out_dir`, looks at the content, and gives the account."""
    order = {id(file): index for index, file in enumerate(files)}
    train = [file for file in files if file.source.split == "train"]
    held_out = [file for file in files if file.source.split == "validation"]
    if not train:  # a validation split alone is data like any other
        train, held_out = held_out, []
    joined = [*train, *held_out]
    hashes = _concatenate([file.hashes() for file in joined])
    repeats = repeat_mask(hashes)
    gone = repeats if spec.dedup else np.zeros(len(repeats), dtype=np.bool_)
    rows_path, origins_path = out_dir / "rows.jsonl", out_dir / "rows.origins"
    train_rows = sum(file.rows_kept for file in train)
    _write_rows(train, rows_path, origins_path, order, gone, 0)
    validation_path = out_dir / "validation.jsonl"
    validation_origins = out_dir / "validation.origins"
    for stale in (validation_path, validation_origins, rows_path.with_suffix(".parquet")):
        stale.unlink(missing_ok=True)
    if held_out:
        _write_rows(held_out, validation_path, validation_origins, order, gone, train_rows)
    rejected_path = out_dir / "rejected.jsonl"
    _join_bytes([part.folder / REJECTED for file in files for part in file.parts], rejected_path)
    accounts = tuple(_account(file, joined, gone) for file in files)
    kept = sum(account.rows_kept for account in accounts)
    tally = Tally()
    found = _of_other_kinds(accounts)
    media = {name for file in files for part in file.parts for name in part.result.media}
    kind = next((account.kind for account in accounts if account.rows_kept), accounts[0].kind)
    columns = COLUMNS[kind] | media
    if media:
        rows_path = write_typed(rows_path, columns)
        validation_path = write_typed(validation_path, columns) if held_out else validation_path
    content = _examine(files, rows_path, origins_path, spec, found, look) if kept and look else None
    findings = _findings(files, content, int(repeats.sum()))
    report_path = out_dir / "report.json"
    problems = in_order(files, [_duplicates(hashes, joined, spec.dedup), found])
    read = sum(account.rows_read for account in accounts)
    head = report_head(accounts, read, kept)
    groups: list[ProblemGroup] = []

    def tail() -> dict[str, Any]:
        groups.extend(_groups(tally))
        causes = [asdict(group) for group in groups]
        return {"causes": causes, "counts": tally.counts, "findings": findings}

    write_report(report_path, head, tally.watch(problems), tail)
    return CheckedData(
        format=head["format"],
        kind=kind,
        files=accounts,
        rows_read=read,
        rows_kept=kept,
        rows_dropped=read - kept,
        rows_path=rows_path,
        origins_path=origins_path,
        report_path=report_path,
        rejected_path=rejected_path,
        fingerprint=_fingerprint(hashes, gone, train_rows),
        validation_path=validation_path if held_out else None,
        validation_origins_path=validation_origins if held_out else None,
        validation_rows=len(gone[train_rows:]) - int(gone[train_rows:].sum()),
        columns=columns,
        counts=tally.counts,
        findings=findings,
        problems=tuple(groups),
    )


def _of_other_kinds(accounts: Sequence[FileAccount]) -> list[Problem]:
    """Files whose rows cannot be trained together with those of most rows."""
    kinds: Counter[Kind] = Counter()
    for account in accounts:
        kinds[account.kind] += account.rows_kept
    most = kinds.most_common(1)[0][0]
    return [
        Problem(
            account.path,
            None,
            None,
            "kind_differs",
            f"the file holds {account.kind} rows, most rows are {most} rows",
            "error",
        )
        for account in accounts
        if account.rows_kept and account.kind != most
    ]


def report_head(accounts: Sequence[FileAccount], read: int, kept: int) -> dict[str, Any]:
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


def file_notes(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    """Repairs that concern the whole file, each said once with its count."""
    renamed: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for part in parts:
        renamed.update(part.result.renamed)
        labels.update(part.result.labels)
    notes = []
    kinds = (("role_renamed", renamed, "turns"), ("label_read", labels, "rows"))
    for code, counted, what in kinds:
        if counted:
            most = counted.most_common(8)
            listed = ", ".join(f"{name} ({count:,} {what})" for name, count in most)
            notes.append((code, f"read as: {listed}"))
    return tuple(notes)


def _account(file: ReadFile, joined: Sequence[ReadFile], gone: Any) -> FileAccount:
    start = 0
    for other in joined:
        if other is file:
            break
        start += other.rows_kept
    kept = file.rows_kept - int(gone[start : start + file.rows_kept].sum())
    known = all_formats().get(file.plan.format)
    return FileAccount(
        path=file.source.name,
        format=file.plan.format or "unknown",
        kind=known.kind if known else "chat",
        encoding=file.encoding,
        sha256=file.sha256,
        rows_read=file.rows_read,
        rows_kept=kept,
        rows_dropped=file.rows_read - kept,
        evidence=file.evidence,
        split=file.source.split,
    )


def _write_rows(
    files: Sequence[ReadFile],
    rows_path: Path,
    origins_path: Path,
    order: dict[int, int],
    gone: Any,
    start: int,
) -> None:
    parts = [part.folder / ROWS for file in files for part in file.parts]
    if not gone.any():
        _join_bytes(parts, rows_path)
    else:
        _join_lines(parts, rows_path, gone, start)
    waiting = origins_path.with_name(origins_path.name + ".part")
    with waiting.open("wb") as out:
        for file in files:
            lines = file.lines()
            table = np.empty(len(lines), dtype=ORIGIN)
            table["file"], table["line"] = order[id(file)], lines
            table[~gone[start : start + len(lines)]].tofile(out)
            start += len(lines)
    waiting.replace(origins_path)


def _join_bytes(parts: Sequence[Path], target: Path) -> None:
    waiting = target.with_name(target.name + ".part")
    waiting.unlink(missing_ok=True)
    if len(parts) == 1 and _linked(parts[0], waiting):
        waiting.replace(target)
        return
    with waiting.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    waiting.replace(target)


def _linked(path: Path, name: Path) -> bool:
    """Whether `name` now names the same file, which saves writing it a second time."""
    try:
        os.link(path, name)
    except OSError:  # this file system has no hard links
        return False
    return True


def _join_lines(parts: Sequence[Path], target: Path, gone: Any, start: int) -> None:
    waiting = target.with_name(target.name + ".part")
    row = start
    with waiting.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                for line in file:
                    if not gone[row]:
                        out.write(line)
                    row += 1
    waiting.replace(target)


def _duplicates(hashes: Any, files: Sequence[ReadFile], dedup: bool) -> Iterator[Problem]:
    places, firsts = Places(files), Places(files)
    for row, first in repeated_rows(hashes):
        index, line, number = places.of(row)
        first_index, first_line, _ = firsts.of(first)
        name = files[index].source.name
        other = "" if first_index == index else f"{files[first_index].source.name}, "
        what = "dropped: the same as" if dedup else "the same as"
        yield Problem(
            name, line, number, "duplicate_row", f"{what} {other}line {first_line}", "warning"
        )


def _examine(
    files: Sequence[ReadFile],
    rows_path: Path,
    origins_path: Path,
    spec: DataSpec,
    found: list[Problem],
    look: Look,
) -> Findings:
    """The content checks; their warnings come without a record's number, which is added here."""
    names = [file.source.name for file in files]
    warnings: list[Problem] = []
    findings = look(
        rows_path,
        origins_path,
        files=names,
        near_duplicates=spec.near_duplicates,
        problems=warnings.append,
    )
    places = Places(files)
    index_of = {name: index for index, name in reversed(list(enumerate(names)))}
    for problem in sorted(warnings, key=lambda p: (index_of.get(p.file, -1), p.line or 0)):
        row = problem.row
        if row is None and problem.line is not None:
            row = places.row_at(index_of[problem.file], problem.line)
        found.append(
            Problem(
                problem.file, problem.line, row, problem.code, problem.message, problem.severity
            )
        )
    return findings


def _findings(files: Sequence[ReadFile], content: Findings | None, repeats: int) -> dict[str, Any]:
    reasoning = sum(part.result.with_reasoning for file in files for part in file.parts)
    kept = sum(file.rows_kept for file in files)
    found: dict[str, Any] = {"reasoning": {"with": reasoning, "without": kept - reasoning}}
    found["exact_repeats"] = repeats
    found |= asdict(content) if content else {}
    notes = [note for file in files for note in file.source.notes]
    found["notes"] = [*notes, *found.get("notes", ())]
    return found


def _groups(tally: Tally) -> Iterator[ProblemGroup]:
    """The causes, errors first, the most frequent first."""
    firsts = tally.first
    ordered = sorted(tally.groups.items(), key=lambda item: (item[0][1] != "error", -item[1]))
    for (code, severity), count in ordered:
        first = firsts[code, severity]
        cause = cause_of(code, severity)
        place = first.file if first.line is None else f"{first.file}:{first.line}"
        yield ProblemGroup(code, count, cause.title, first.message, place, cause.fix, severity)


def _fingerprint(hashes: Any, gone: Any, train_rows: int) -> str:
    digest = xxhash.xxh3_128(str(train_rows).encode())
    digest.update(memoryview(hashes))
    digest.update(np.flatnonzero(gone).tobytes())
    return digest.hexdigest()


def _concatenate(arrays: Sequence[Any]) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype="<u8")
