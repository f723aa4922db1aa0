"""One pass over a file, or over a range of it: batches in, canonical rows and problems out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from fine_tuning.dataset.account.sink import PartResult, Sink, Spooled
from fine_tuning.dataset.convert.fast_path.lines import canonical_lines
from fine_tuning.dataset.convert.fast_path.path import FastPath
from fine_tuning.dataset.convert.fast_path.rows import SAMPLE_ROWS, fast_path
from fine_tuning.dataset.convert.plan import UNUSED, Converter, Plan
from fine_tuning.dataset.problems import cause_of
from fine_tuning.dataset.read import ByteRange, decode_block, open_batches
from fine_tuning.dataset.read.json.record import Decoded, decode_record
from fine_tuning.dataset.sources import Source
from fine_tuning.errors import DataError
from fine_tuning.values.data import UNREADABLE, Block, RecordProblem, Records


@dataclass(frozen=True)
class PartJob:
    """What one pass is to do; it can be sent to another process."""

    source: Source
    plan: Plan
    part: ByteRange | None = None
    lines_before: int = 0
    allow_fast: bool = True


def run_parts(
    jobs: Sequence[PartJob], folder: Path, advance: Callable[[int], None] | None = None
) -> list[PartResult]:
    """Read, convert and account for parts, into a new folder; `advance` is told of bytes of the
    files that were read."""
    with Sink(folder) as sink:
        return [_run_part(job, sink, advance) for job in jobs]


def _run_part(job: PartJob, sink: Sink, advance: Callable[[int], None] | None) -> PartResult:
    reading = open_batches(job.source, job.part)
    work = _Pass(job.plan, sink, allow_fast=job.allow_fast)
    try:
        before = 0
        for batch in reading:
            work.take(batch.moved(job.lines_before) if job.lines_before else batch)
            if advance:
                advance(reading.bytes_read - before)
                before = reading.bytes_read
    except DataError as error:  # the file cannot be opened, or no longer
        sink.problem(Spooled(None, None, "unreadable_file", str(error), "error"))
    result = work.result()
    result.encoding, result.sha256 = reading.encoding, reading.sha256
    result.lines = reading.lines
    return sink.finish(result)


class _Pass:
    """The state of one pass: the converter, the fast path (from the first block on), the sink."""

    def __init__(self, plan: Plan, sink: Sink, *, allow_fast: bool) -> None:
        self.converter = Converter(plan)
        self.sink = sink
        self.fast: FastPath | None = None
        self.fast_rows = 0
        self._sampled = not allow_fast
        self._sample: Sequence[Any] = ()

    def take(self, batch: Block | Records) -> None:
        if isinstance(batch, Records):
            self._records(batch)
            return
        if not self._sampled:
            head = b"\n".join(batch.data.split(b"\n", SAMPLE_ROWS)[:SAMPLE_ROWS])
            sample = decode_block(Block(head, batch.first_line)).values
            self.fast = fast_path(self.converter.plan, sample)
            self._sampled = True
            self._sample = sample
        if self.fast is None or not self._block(batch, self.fast):
            self._records(decode_block(batch))

    def _see_unread(self) -> None:
        """The columns that the fast path passes by are seen in its sample."""
        unread = self.converter.notes.unread
        for name in self.fast.extra if self.fast and self.fast_rows else ():
            ours = self.converter.plan.renames.get(name, name)
            if not ours.endswith(UNUSED):
                unread.pop(ours, None)  # the sample has those rows too
                for row in self._sample:
                    if isinstance(row, dict) and row.get(name) is not None:
                        unread.see(ours, row[name])

    def result(self) -> PartResult:
        converter, fast = self.converter, self.fast
        self._see_unread()
        votes = converter.votes
        if self.fast_rows and converter.format and converter.plan.recognised:
            # A dialogue in BELLE's style is left to the general path; the rest are alpaca rows.
            plain = (*converter.format.includes, converter.format.name)[0]
            votes[(plain,)] += self.fast_rows
        renames = converter.notes.renamed
        for name, role in fast.renamed if fast else ():
            if fast and fast.counts.pairs_of_turns:
                renames[f"{name} -> {role}"] += fast.counts.pairs_of_turns
        return PartResult(
            votes=[(list(names), count) for names, count in votes.items()],
            renamed=dict(renames),
            labels=dict(converter.notes.labels),
            untrained=dict(converter.notes.untrained),
            unread=dict(converter.notes.unread),
            with_reasoning=converter.with_reasoning + (fast.counts.with_reasoning if fast else 0),
            rare_columns=sorted(converter.columns),
        )

    def _records(self, records: Records) -> None:
        problems: dict[int, list[RecordProblem]] = {}
        for problem in records.problems:
            if problem.index is None:
                self.sink.problem(_spooled(problem, None, None))
            else:
                problems.setdefault(problem.index, []).append(problem)
        base = self.sink.rows_read
        kept: list[bytes] = []
        lines: list[int] = []
        for index, (value, line) in enumerate(zip(records.values, records.lines, strict=True)):
            raw = records.raw[index] if records.raw else None
            data = self._record(value, line, base + index, problems.get(index, ()), raw)
            if data is not None:
                kept.append(data)
                lines.append(line)
        self.sink.rows_read += len(records.values)
        self.sink.keep(kept, lines)

    def _record(
        self, value: Any, line: int, row: int, found: Sequence[RecordProblem], raw: bytes | None
    ) -> bytes | None:
        """One record on the general path; None if it is dropped (and then named and kept aside)."""
        for problem in found:
            self.sink.problem(_spooled(problem, line, row))
        data = None
        if value is not UNREADABLE:
            converted = self.converter.convert(value)
            for code, message in converted.warnings:
                self.sink.problem(
                    Spooled(line, row, code, message, cause_of(code, "warning").severity)
                )
            if converted.error:
                code, message = converted.error
                self.sink.problem(Spooled(line, row, code, message, "error"))
            data = converted.data
        if data is None:
            self.sink.reject(raw if raw is not None else _as_json(value), row)
        return data

    def _block(self, block: Block, fast: FastPath) -> bool:
        """A block on the fast path; False, with nothing done, if it must be decoded leniently."""
        first, base = block.first_line, self.sink.rows_read
        before = replace(fast.counts)
        made = canonical_lines(block.data, fast)
        if None not in made:
            self.sink.rows_read += len(made)
            self.fast_rows += len(made)
            self.sink.keep(made, range(first, first + len(made)))  # type: ignore[arg-type]  # no None
            return True
        lines = block.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        general = _decode_others(lines, made, first)
        if general is None:
            fast.counts.reset_to(before)
            return False
        self.sink.rows_read += len(lines)
        self.fast_rows += len(lines) - len(general)
        for index, decoded in general.items():
            found = [RecordProblem(0, f.code, f.message, f.severity) for f in decoded.findings]
            raw = lines[index].strip()
            made[index] = self._record(decoded.value, first + index, base + index, found, raw)
        kept = [index for index, data in enumerate(made) if data is not None]
        self.sink.keep([made[i] for i in kept], [first + i for i in kept])  # type: ignore[misc]  # no None
        return True


def _decode_others(
    lines: list[bytes], made: list[bytes | None], first_line: int
) -> dict[int, Decoded] | None:
    """The lines that the loop left out, decoded one by one.

    None if the block must be decoded as a whole: a line is blank, or no record on its own (so is
    the first line of a row that takes several, after which `made` and `lines` part).
    """
    others: dict[int, Decoded] = {}
    for index, data in enumerate(made):
        if data is None:
            raw = lines[index].strip()
            decoded = decode_record(raw, first_line + index)
            if not raw or decoded.value is UNREADABLE:
                return None
            others[index] = decoded
    return others


def _spooled(problem: RecordProblem, line: int | None, row: int | None) -> Spooled:
    return Spooled(line, row, problem.code, problem.message, problem.severity)


def _as_json(value: Any) -> bytes:
    """A record that did not come as JSON (CSV, parquet) as a line of JSON."""
    if value is UNREADABLE:
        return b""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return json.dumps(value, default=repr, ensure_ascii=True).encode()
