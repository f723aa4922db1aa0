"""A user's files -> checked rows in canonical form, and an account of every row.

find files -> first look -> read and convert -> confirm the formats -> join -> look at content
"""

import dataclasses
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from fine_tuning.dataset.account import outputs
from fine_tuning.dataset.account.ledger import ReadFile, file_notes
from fine_tuning.dataset.account.schedule import (
    Part,
    Planned,
    Progress,
    in_parts,
    run_passes,
    worker_count,
)
from fine_tuning.dataset.insight.examine import examine
from fine_tuning.dataset.read import sha256_of
from fine_tuning.dataset.recognise.asking.questions import questions_of
from fine_tuning.dataset.recognise.asking.unread import Unread
from fine_tuning.dataset.recognise.survey import (
    confirmed,
    evidence,
    first_plan,
    unknown_columns,
    unread_note,
)
from fine_tuning.dataset.sources import HubChoice, Source, find_sources
from fine_tuning.disk.paths import at_home, expanded
from fine_tuning.errors import DataError, UsageError
from fine_tuning.hubs.downloads import OnBytes
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec

READING = 0.4  # its share of the time of a check
CUT_FILE = ("truncated", "damaged_file", "missing_bracket")  # what tells that the end is missing


def check(
    spec: DataSpec,
    *,
    out_dir: Path,
    validation_paths: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> CheckedData:
    """Read and check every row, and stop if the data cannot be trained on.

    Writes rows.jsonl, rows.origins, rejected.jsonl and report.json into `out_dir` (and
    validation.jsonl, validation.origins if the data has a validation split). Raises DataError,
    after these are written, if a row kind is mixed with another, no row is usable, or more than
    `max_bad_rows` of them are not; UsageError if the format is not clear.
    """
    data = account(spec, out_dir=out_dir, validation_paths=validation_paths, progress=progress)
    refuse_unusable(data, spec)
    return data


def account(
    spec: DataSpec,
    *,
    out_dir: Path,
    validation_paths: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    look: outputs.Look | None = examine,
    name_leaks: bool = False,
    extracted_dir: Path | None = None,
) -> CheckedData:
    """As `check`, but only says how it is: many unusable rows are no error here.

    `look` is what looks at the content of the good rows; None leaves it out. `name_leaks` names the
    training rows that the validation data holds too (a run does so when it splits the rows).
    Pictures whose bytes stand in the rows are written into `extracted_dir` (default: in `out_dir`).
    What an earlier check left in `out_dir` stays until the new results are whole. `progress` is
    told of one way through all files: a byte counts by shares as its row is read and looked at.
    """
    sources = _sources(spec, validation_paths)
    unfinished = out_dir / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a check that was killed
    unfinished.mkdir(parents=True)
    try:
        way = _Way(progress or _untold, sum(source.size for source in sources))
        extracted = extracted_dir or out_dir / "media"
        files = _read(sources, spec, unfinished / "parts", extracted, way.reading)
        data = outputs.write(
            files, spec, unfinished, look, name_leaks=name_leaks, progress=way.looking
        )
        data = outputs.put_in_place(data, out_dir)
        way.end()
        return data
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class _Way:
    """One progress of reading and looking at the rows, by the time that each mostly takes."""

    tell: Callable[[Progress], None]
    size: int

    def reading(self, at: Progress) -> None:
        self._tell(READING * at.done / max(at.total, 1))

    def looking(self, done: int, rows: int) -> None:
        self._tell(READING + (1 - READING) * done / max(rows, 1))

    def end(self) -> None:
        self._tell(1)

    def _tell(self, share: float) -> None:
        self.tell(Progress(round(self.size * share), self.size))


def _untold(at: Progress) -> None:
    """Nobody asked how far it is."""


def refuse_unusable(data: CheckedData, spec: DataSpec) -> None:
    """Raises DataError if there is no usable row, rows of two kinds, or too many bad rows."""
    where = f"every problem: {data.report_path}; the dropped rows: {data.rejected_path}"
    if asked := [group for group in data.problems if group.effect == "question"]:
        raise DataError(
            "; ".join(dict.fromkeys(group.message for group in asked)),
            why="\n".join(f"{group.first}: {group.example}" for group in asked),
            fix="; ".join(dict.fromkeys(group.suggestion for group in asked)),
        )
    if not data.rows_kept:
        worst = next((g for g in data.problems if g.severity == "error"), None)
        why = f"{worst.message}, first at {worst.first}: {worst.example}" if worst else ""
        fix = f"{worst.suggestion}; {where}" if worst and worst.suggestion else where
        raise DataError("No row of the data is usable.", why=why, fix=fix)
    differing = sorted({file.kind for file in data.files if file.rows_kept})
    if len(differing) > 1:
        named = "; ".join(f"{f.path} holds {f.kind} data" for f in data.files if f.rows_kept)
        raise DataError(
            f"The files hold rows of different kinds: {', '.join(differing)}.",
            why=named,
            fix="train on each kind by itself",
        )
    if data.rows_kept == data.validation_rows:
        raise DataError(
            "There are validation rows, but no training row.",
            fix=f"mend or add training rows; {where}",
        )
    repeats = data.counts.get("duplicate_row", 0) if spec.dedup else 0
    unusable = data.rows_dropped - repeats
    if unusable > spec.max_bad_rows * data.rows_read:
        causes = [g for g in data.problems if g.severity == "error"][:3]
        raise DataError(
            f"{unusable:,} of {data.rows_read:,} rows are unusable,"
            f" more than --max_bad_rows {spec.max_bad_rows:g}.",
            why="; ".join(f"{g.count:,}: {g.message}, first at {g.first}" for g in causes),
            fix=f"{where}; mend them, or raise --max_bad_rows",
        )


def _sources(spec: DataSpec, validation_paths: Sequence[str]) -> list[Source]:
    paths = [*spec.dataset_path, *(path for path in spec.mix if path not in spec.dataset_path)]
    if not paths:
        raise DataError("No dataset was given.", fix="name one with --dataset_path")
    hub = _hub_choice(spec)
    _refuse_hub_words(spec, (*paths, *validation_paths))
    sources = find_sources(
        paths,
        hub=hub,
        splits=not spec.ignore_splits,
        apart=spec.mix,
        text_unit=spec.text_unit,
    )
    if not validation_paths:
        return sources
    held_out = find_sources(
        validation_paths,
        hub=hub,
        flag="val_dataset_path",
        splits=False,
        text_unit=spec.text_unit,
    )
    both = {source.path for source in sources} & {source.path for source in held_out}
    if both:
        raise DataError(
            f"{sorted(both)[0]} is given for training and for validation.",
            why="a score on rows that were trained on says nothing",
            fix="give other files to --val_dataset_path, or use --val_size",
        )
    training = [s for s in sources if s.split == "train"] or sources
    return [
        *(dataclasses.replace(source, split="train") for source in training),
        *(dataclasses.replace(source, split="validation") for source in held_out),
    ]


def download(spec: DataSpec, validation_paths: Sequence[str], on_bytes: OnBytes) -> None:
    """Fetch Hub datasets into the cache, before `account` reads them; local data asks nobody."""
    names = [*spec.dataset_path, *spec.mix, *validation_paths]
    words = [path for name in names for path in expanded(name)]
    hub = [name for name in dict.fromkeys(words) if not at_home(name).exists()]
    if hub:
        find_sources(hub, hub=_hub_choice(spec), on_bytes=on_bytes)


def _hub_choice(spec: DataSpec) -> HubChoice:
    return HubChoice(
        config=spec.dataset_config, split=spec.dataset_split, revision=spec.dataset_revision
    )


def _refuse_hub_words(spec: DataSpec, paths: Sequence[str]) -> None:
    """A split or revision of a local file would have no effect, which nobody would notice."""
    words = ("dataset_config", "dataset_split", "dataset_revision")
    given = [f"--{word}" for word in words if getattr(spec, word)]
    local = [at_home(path) for word in paths for path in expanded(word)]
    if given and all(path.exists() for path in local):
        raise UsageError(
            f"{', '.join(given)} chooses a part of a Hub dataset, but {paths[0]} is a local path.",
            fix="leave it out, or name the file of that part",
        )


def _read(
    sources: Sequence[Source],
    spec: DataSpec,
    folder: Path,
    extracted: Path,
    progress: Callable[[Progress], None],
) -> list[ReadFile]:
    """Every file read by the format that all its rows speak for."""
    looks = [first_plan(source, spec, extracted) for source in sources]
    if note := unknown_columns(looks, spec):
        notes = (*sources[0].notes, note)
        sources = [dataclasses.replace(sources[0], notes=notes), *sources[1:]]
    planned = [Planned(source, plan) for source, (plan, _) in zip(sources, looks, strict=True)]
    workers = worker_count(spec.num_workers, sum(source.size for source in sources))
    hashes = _Hashes([source for source in sources if in_parts(source, workers)])
    passes = partial(run_passes, workers=workers)
    parts = passes(planned, folder=folder / "first", progress=progress)
    again: dict[int, Planned] = {}
    for index, (file, of_file) in enumerate(zip(planned, parts, strict=True)):
        votes = _votes(of_file)
        name = confirmed(file.plan, votes, file.source.name)
        if name != file.plan.format:
            again[index] = Planned(file.source, dataclasses.replace(file.plan, format=name))
    if again:
        redone = passes(list(again.values()), folder=folder / "again")
        for index, of_file in zip(again, redone, strict=True):
            planned[index], parts[index] = again[index], of_file
    unread = [Unread.of(part.result.unread for part in of_file) for of_file in parts]
    kept = [sum(it.result.rows_kept for it in of_file) for of_file in parts]
    asked = [
        (
            *questions_of(file.source, file.plan, columns, rows, spec, kept=count),
            *_cut(of_file, spec),
        )
        for file, columns, of_file, (_, rows), count in zip(
            planned, unread, parts, looks, kept, strict=True
        )
    ]
    harmless = {
        name: column
        for columns, about in zip(unread, asked, strict=True)
        for name, column in columns.items()
        if not about
    }
    note = unread_note(harmless)
    first = dataclasses.replace(sources[0], notes=(*sources[0].notes, *([note] if note else [])))
    return [
        ReadFile(
            source=first if file.source is sources[0] else file.source,
            plan=file.plan,
            parts=of_file,
            evidence=evidence(file.source, file.plan, _votes(of_file), rows),
            sha256=of_file[0].result.sha256 or hashes.of(file.source),
            notes=(*file.source.problems, *about, *file_notes(of_file)),
        )
        for file, of_file, (_, rows), about in zip(planned, parts, looks, asked, strict=True)
    ]


class _Hashes:
    """SHA-256 of the files that are read in parts, computed meanwhile; Ctrl-C ends it."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._found: dict[Path, str] = {}
        self._thread = threading.Thread(target=self._compute, args=(sources,), daemon=True)
        self._thread.start()

    def _compute(self, sources: Sequence[Source]) -> None:
        for source in sources:
            with suppress(OSError):  # the reading names it
                self._found[source.path] = sha256_of(source.path)

    def of(self, source: Source) -> str:
        """In hexadecimal; empty if the file cannot be read."""
        self._thread.join()
        if source.path in self._found or source.unusable:  # a pipe would never end
            return self._found.get(source.path, "")
        try:
            return sha256_of(source.path)
        except OSError:
            return ""


def _cut(parts: Sequence[Part], spec: DataSpec) -> Iterator[tuple[str, str]]:
    """A file of which only the beginning is there, unless the user said that he knows it."""
    first = [p.result.first[c] for p in parts for c in CUT_FILE if c in p.result.first]
    if first and not spec.allow_truncated:
        where = f"line {first[0].line}: " if first[0].line else ""
        yield "file_cut", f"{where}{first[0].message}"


def _votes(parts: Sequence[Part]) -> Counter[tuple[str, ...]]:
    votes: Counter[tuple[str, ...]] = Counter()
    for part in parts:
        for names, count in part.result.votes:
            votes[tuple(names)] += count
    return votes
