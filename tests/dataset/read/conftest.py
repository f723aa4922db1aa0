"""Reads bytes as a user's file would be read, and flattens the batches for comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.read import Reading, decode_block, open_batches
from fine_tuning.dataset.sources import HubChoice, find_sources
from fine_tuning.values.data import UNREADABLE, Block


@dataclass(frozen=True)
class Outcome:
    """Everything that came out of a file; a problem is (row or None, code, severity)."""

    rows: list[tuple[int, Any]]
    problems: list[tuple[int | None, str, str]]
    messages: list[str]
    raw: list[bytes | None]
    reading: Reading

    @property
    def values(self) -> list[Any]:
        return [value for _, value in self.rows]

    @property
    def codes(self) -> list[str]:
        return [code for _, code, _ in self.problems]


Read = Callable[[str, bytes], Outcome]


def flatten(reading: Reading) -> Outcome:
    """All batches of a reading as one list of rows; asserts that every record is accounted for."""
    rows: list[tuple[int, Any]] = []
    problems: list[tuple[int | None, str, str]] = []
    messages: list[str] = []
    raw: list[bytes | None] = []
    for batch in reading:
        records = decode_block(batch) if isinstance(batch, Block) else batch
        assert len(records.values) == len(records.lines)
        first = len(rows)
        for problem in records.problems:
            at = None if problem.index is None else first + problem.index
            problems.append((at, problem.code, problem.severity))
            messages.append(problem.message)
        errors = [
            p.index for p in records.problems if p.severity == "error" and p.index is not None
        ]
        unreadable = [i for i, value in enumerate(records.values) if value is UNREADABLE]
        assert sorted(errors) == unreadable, "each unreadable record has exactly one error"
        rows.extend(zip(records.lines, records.values, strict=True))
        raw.extend(records.raw or [None] * len(records.values))
    return Outcome(rows, problems, messages, raw, reading)


def read_file(path: Path) -> Outcome:
    """What the readers make of one file."""
    (source,) = find_sources([str(path)], hub=HubChoice())
    return flatten(open_batches(source))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write bytes under a file name, and read them."""

    def write_and_read(name: str, content: bytes) -> Outcome:
        path = tmp_path / name
        path.write_bytes(content)
        return read_file(path)

    return write_and_read
