"""`validate --ledger RUN`: the rows of a run that stand out by their losses, for a person."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from fine_tuning import ledger
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.dataset.insight.rows import read_lines
from fine_tuning.disk import files
from fine_tuning.disk.paths import absolute, shown
from fine_tuning.errors import UsageError
from fine_tuning.escaping import visible
from fine_tuning.ledger import Doubtful
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.units import counted
from fine_tuning.values.data import CheckedData
from fine_tuning.values.record import result_of

REVIEW = "review.jsonl"
SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The rows of a run that stand out by their losses."""

    run: Annotated[Path, "its folder"]
    measured: Annotated[int, "rows whose losses were kept"]
    doubtful: Annotated[tuple[Doubtful, ...], "those that stand out, the worst of each kind first"]
    review: Annotated[Path | None, "where they were written; null: none stands out"] = None


def review(job: Resolved) -> Outcome[Reviewed]:
    """Write them as JSON lines: place, why, losses, and the whole row in canonical form.

    Raises UsageError for a folder without a ledger.
    """
    folder = absolute(job.options["ledger"])
    if given := sorted({*job.sources} & {"dataset_path", "mix", "model_name_or_path"}):
        raise UsageError(
            [f"--{name} goes with a check, and --ledger takes the place of one." for name in given]
        )
    record = read_record(RunFolder(folder))
    if record is None:
        raise UsageError(f"{folder} holds no run (run.json).", fix="`runs` lists runs")
    rows = ledger.read(folder)
    if not rows:
        raise UsageError(
            f"The run in {folder} kept no losses of rows.",
            fix="train with --ledger on; unasked they are kept of up to "
            f"{ledger.MOST_ROWS:,} rows, in a single process",
        )
    found = ledger.findings(rows)
    place = None
    if found.doubtful:
        place = folder / REVIEW
        text = written(found.doubtful, result_of(record.stages.check))
        if place.exists() and place.read_text(encoding="utf-8") != text:
            place.replace(files.free_name(place))  # somebody may be working in it
        files.write_text(place, text)
    for line in lines_of(found):
        print(visible(line))
    if place is not None:
        print(visible(f"To look through: {shown(place)}"))
    return Outcome(
        Reviewed(run=folder, measured=found.measured, doubtful=found.doubtful, review=place)
    )


def lines_of(found: ledger.Findings) -> Iterator[str]:
    """The account, and the first rows of each kind."""
    yield f"The losses of {counted(found.measured, 'row')} were kept."
    if not found.learned:
        yield "The training changed its own rows too little to tell which were not learned."
    for rows in (found.not_finite, found.never_learned, found.made_worse, found.learned_least):
        if rows:
            yield f"{rows[0].why}: {counted(len(rows), 'row')}"
        for it in rows[:SHOWN]:
            losses = f"{_number(it.row.before)} -> {_number(it.row.after)}"
            begins = it.row.question.replace("\n", " ")[:50]
            yield f"  {shown_place(it)}: loss {losses}: {begins}"
        if len(rows) > SHOWN:
            yield f"  and {len(rows) - SHOWN:,} more"
    if not found.doubtful:
        yield "None of them stands out."


def shown_place(it: Doubtful) -> str:
    """The row's place, relative to here."""
    return shown(Path(it.row.place)) if it.row.file else it.row.place


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def written(doubtful: Sequence[Doubtful], data: CheckedData | None) -> str:
    """The rows as JSON lines."""
    known = canonical_rows(doubtful, data)
    lines = [
        {"why": it.why, **asdict(it.row), "content": known.get((it.row.part, it.row.kept))}
        for it in doubtful
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def canonical_rows(
    doubtful: Sequence[Doubtful], data: CheckedData | None
) -> Mapping[tuple[str, int | None], Any]:
    """These rows as they were checked, by part and number; none where they have gone."""
    found: dict[tuple[str, int | None], Any] = {}
    if data is None:
        return found
    own = data.validation_path or data.rows_path
    for part, path in (("train", data.rows_path), ("validation", own)):
        wanted = {it.row.kept for it in doubtful if it.row.part == part} - {None}
        if wanted and path.exists():
            for number, line in enumerate(read_lines(path)):
                if number in wanted:
                    found[part, number] = json.loads(line)
    return found
