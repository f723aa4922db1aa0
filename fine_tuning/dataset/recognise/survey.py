"""The first look at a file: its format by its first rows, to be confirmed by all of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.fast_path.rows import SAMPLE_ROWS
from fine_tuning.dataset.convert.plan import UNUSED, Media, Plan
from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.dataset.read import decode_block, open_batches, text_unit
from fine_tuning.dataset.recognise.asking.meanings import HARMLESS
from fine_tuning.dataset.recognise.asking.unread import Column
from fine_tuning.dataset.recognise.by_columns import (
    ALONE,
    Votes,
    evidence_for,
    renamed,
    vote,
    winner,
)
from fine_tuning.dataset.recognise.formats import all_formats
from fine_tuning.dataset.recognise.implied import implied
from fine_tuning.dataset.recognise.mapping import Mapped, mapping_of
from fine_tuning.dataset.recognise.paths import values_at
from fine_tuning.dataset.sources import Source
from fine_tuning.disk.paths import at_home
from fine_tuning.errors import DataError
from fine_tuning.values.data import Block
from fine_tuning.values.spec import DataSpec

SAMPLE_BATCHES = 4

_ANSWERS_OF_SERVERS = frozenset(("error", "errors", "detail", "message", "msg", "status"))


def first_plan(
    source: Source, spec: DataSpec, extracted: Path | None = None
) -> tuple[Plan, list[dict[str, Any]]]:
    """How the rows are to be read, judged by the first ones, and these rows.

    Raises UsageError if all of them fit two formats equally well.
    """
    plan, rows = _recognised(source, spec, extracted)
    return dataclasses.replace(plan, allow_unanswered=spec.allow_unanswered), rows


def _recognised(
    source: Source, spec: DataSpec, extracted: Path | None
) -> tuple[Plan, list[dict[str, Any]]]:
    try:
        rows = _first_rows(source)
    except DataError:  # the pass over the file will meet it again, and name it
        rows = []
    by_hand = spec.columns or spec.text_column or spec.dataset_format != "auto"
    mapped = Mapped() if by_hand else mapping_of(source)
    if mapped.columns:
        spec = dataclasses.replace(spec, columns=mapped.columns)
    tags = mapped.tags
    renames = _renames(rows, spec)
    root = at_home(spec.media_dir).absolute() if spec.media_dir else source.path.parent
    media = Media(root, extracted)
    if spec.dataset_format != "auto":
        if spec.dataset_format in ("text", "rendered") and not spec.text_column:
            renames |= _only_column(rows, renames)
        return Plan(spec.dataset_format, renames, media), rows
    if spec.text_column:
        return Plan("text", renames, media), rows
    votes = vote(rows, renames)
    if votes.keys() <= {(), (ALONE,)} and (more := implied(rows, renames)):
        again = vote(rows, {**renames, **more})
        if not again.keys() <= {(), (ALONE,)}:
            votes, renames = again, {**renames, **more}
    if len(votes) == 1 and len(next(iter(votes))) > 1:
        winner(votes, source.name)
    names = [names for names, _ in votes.most_common() if names and names != (ALONE,)]
    names += [(ALONE,)] * (not names and (ALONE,) in votes)
    if names:
        return Plan(names[0][0], renames, media, recognised=True, tags=tags), rows
    if only := _only_column(rows, renames):
        return Plan("text", {**renames, **only}, media), rows
    return Plan("", renames, media, recognised=True, tags=tags), rows


def _renames(rows: list[dict[str, Any]], spec: DataSpec) -> dict[str, str]:
    """The file's columns -> ours; a column that has our name already gives way to the named one."""
    renames = {yours: ours for ours, yours in spec.columns.items()}
    here = {yours for yours in renames if values_at(rows, yours)}
    ours_here = {ours for yours, ours in renames.items() if yours in here}
    if spec.text_column:
        renames[spec.text_column] = "text"
        ours_here |= {*all_formats()["text"].columns["text"]}
    left_out = [*sorted(ours_here), *_ignored(rows, spec)]
    return {**{name: name + UNUSED for name in left_out}, **renames}


def _ignored(rows: list[dict[str, Any]], spec: DataSpec) -> list[str]:
    """The columns of --ignore_columns; names may also be joined by commas."""
    known = {name for row in rows for name in row}
    words = [[word] if word in known else word.split(",") for word in spec.ignore_columns]
    return [name for names in words for name in names]


def unknown_columns(looks: Sequence[tuple[Plan, list[dict[str, Any]]]], spec: DataSpec) -> str:
    """What to say of a named column that no first row has, or nothing."""
    names = dict.fromkeys(name for _, rows in looks for row in rows for name in row)
    wanted = [*spec.columns.values(), *([spec.text_column] if spec.text_column else [])]
    wanted += _ignored([row for _, rows in looks for row in rows], spec)
    every = [row for _, rows in looks for row in rows]
    absent = [name for name in wanted if name not in names and not values_at(every, name)]
    if not absent or not names:
        return ""
    there = ", ".join(list(names)[:12])
    named = ", ".join(absent)
    return masked(f"no column is called {named} in the first rows, which have {there}")


def unread_note(unread: Mapping[str, Column]) -> str:
    """The columns that no format reads and that nobody was asked about (`id`, `source`)."""
    if not unread:
        return ""
    more = f" and {len(unread) - 12} more" if len(unread) > 12 else ""
    listed = ", ".join(name or "(no name)" for name in [*unread][:12])
    return masked(f"columns that are not read: {listed}{more}")


def confirmed(plan: Plan, votes: Votes, name: str) -> str:
    """The format that all rows speak for; the plan's own if the user named it."""
    if not plan.recognised:
        return plan.format
    return winner(votes, name) or plan.format


def evidence(source: Source, plan: Plan, votes: Votes, rows: list[dict[str, Any]]) -> str:
    """Why a file is read as it is, in words."""
    if not plan.format:
        return ""
    if source.kind == "txt" and plan.recognised and (unit := text_unit(source)):
        return unit
    if not plan.recognised:
        columns = ", ".join(
            f"{ours}={yours}" for yours, ours in plan.renames.items() if not ours.endswith(UNUSED)
        )
        named = "its only column" if plan.format == "text" and columns else "as named"
        return f"{named}: {columns}" if columns else "named by --dataset_format"
    fitting = (renamed(row, plan.renames) for row in rows)
    shapes = all_formats()[plan.format].shapes
    row: Mapping[str, Any] = next((r for r in fitting if any(s.fits(r) for s in shapes)), {})
    known = {yours: ours for yours, ours in plan.renames.items() if not ours.endswith(UNUSED)}
    other = "".join(f"; {ours}={yours}" for yours, ours in known.items())
    return evidence_for(all_formats()[plan.format], votes, row) + other


def _first_rows(source: Source) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in islice(open_batches(source), SAMPLE_BATCHES):
        if isinstance(batch, Block):
            head = b"\n".join(batch.data.split(b"\n", SAMPLE_ROWS)[:SAMPLE_ROWS])
            batch = decode_block(Block(head, batch.first_line))
        rows += [value for value in batch.values[:SAMPLE_ROWS] if isinstance(value, dict)]
        if len(rows) >= SAMPLE_ROWS:
            break
    return rows


def _only_column(rows: list[dict[str, Any]], renames: Mapping[str, str]) -> dict[str, str]:
    """The one column with text that all rows have, as the text column."""
    names = {name for row in rows for name in row}
    if any(renames.get(name, name) in ("text", "content") for name in names):
        return {}
    if any(mark in name for name in names for mark in ",;|\t^"):
        return {}  # the header of a table whose delimiter nobody knows is no column of texts
    if names <= _ANSWERS_OF_SERVERS:
        return {}  # {"error": "Entry not found"}: what a failed download leaves
    texts = {name for row in rows for name, value in row.items() if isinstance(value, str)}
    others = (known for known in all_formats().values() if known.kind != "text")
    parts = {name for known in others for its in known.columns.values() for name in its}
    if len(names) != 1 or len(texts) != 1 or texts & parts:
        return {}  # system prompts or answers alone are no texts
    (name,) = texts
    values = [row[name] for row in rows if isinstance(row.get(name), str)]
    if HARMLESS.fullmatch(name) or all("://" in value.split(" ")[0] for value in values):
        return {}  # addresses, names, ids
    return {name: "text"}
