"""Whatever the bytes are, nothing escapes, every record is accounted for, and lines are true."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.read import open_batches, split_ranges
from fine_tuning.dataset.sources import HubChoice, find_sources
from fine_tuning.errors import DataError
from fine_tuning.values.data import UNREADABLE

from .conftest import Outcome, flatten, read_file

NAMES = ("a.json", "a.jsonl", "a.csv", "a.tsv", "a.txt", "a.parquet", "a.arrow", "a.json.gz", "a")
RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
values = st.recursive(
    scalars.filter(lambda v: v not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(text, values, max_size=4)
PIECES = (
    *(bytes([byte]) for byte in b'{}[]"\\,:\n\r\0 ;\t1'),
    *(b'"a"', b'{"a": 1}', b'{"a": "b"}\n', b'"data": [', b"NaN", b"\\ud800", "你".encode()),
    *(b"a,b\n", b'"x,y"', b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"PAR1"),
)
fragments = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)
cells = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n\t",;|'), max_size=20
)


def balanced(path: Path, content: bytes) -> Outcome:
    """Read, and check what must hold of any file; `flatten` checks the accounts."""
    path.write_bytes(content)
    outcome = read_file(path)
    lines = [line for line, _ in outcome.rows]
    assert lines == sorted(lines)
    assert all(1 <= line <= max(outcome.reading.lines, 1) for line in lines)
    return outcome


@pytest.mark.parametrize("name", NAMES)
@RELAXED
@given(content=st.binary(max_size=300) | fragments)
@example(content=b"[" * 5000)
@example(content=b'{"a":' * 5000)
@example(content=b'"' + b"\\" * 5001)
def test_any_bytes_are_accounted_for(tmp_path: Path, name: str, content: bytes) -> None:
    balanced(tmp_path / name, content)


@RELAXED
@given(rows=st.lists(records, min_size=2, max_size=8), cut=st.integers(0, 400), junk=fragments)
def test_damage_in_the_middle_never_hides_rows_before_it(
    tmp_path: Path, rows: list[dict[str, Any]], cut: int, junk: bytes
) -> None:
    lines = [json.dumps(row).encode() for row in rows]
    content = b"\n".join(lines)
    before = content[: min(cut, len(content))]
    outcome = balanced(tmp_path / "a.jsonl", before + junk)
    whole = before.count(b"\n")
    if b"\n" not in junk.replace(b"\r", b"\n") and whole > 1:
        kept = [value for value in outcome.values if value is not UNREADABLE]
        assert kept[: whole - 1] == rows[: whole - 1]


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_arrow(rows: list[Any]) -> bytes:
    table = pa.Table.from_pylist(rows)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_parquet(rows: list[Any]) -> bytes:
    out = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows), out, row_group_size=3)
    return out.getvalue()


def as_feather(rows: list[Any]) -> bytes:
    out = io.BytesIO()
    pa.feather.write_feather(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def as_lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


JSON_WRITERS: dict[str, Callable[[list[Any]], bytes]] = {
    "a.jsonl": as_lines,
    "b.jsonl": lambda rows: b"".join(
        json.dumps(row, ensure_ascii=False).encode() + b"\r\n" for row in rows
    ),
    "a.json": lambda rows: json.dumps(rows).encode(),
    "b.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "c.json": lambda rows: json.dumps(rows, indent="\t").encode("utf-16"),
    "d.json": lambda rows: json.dumps({"data": rows}, indent=1).encode(),
    "e.json": lambda rows: b"\n".join(json.dumps(row, indent=4).encode() for row in rows),
    "a.jsonl.gz": lambda rows: gzip.compress(as_lines(rows)),
    "a.json.zst": lambda rows: zstandard.compress(json.dumps(rows).encode()),
}


@pytest.mark.parametrize("name", JSON_WRITERS)
@RELAXED
@given(rows=st.lists(records.map(lambda r: {"id": 1, **r}), min_size=2, max_size=8))
def test_json_round_trip(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    outcome = balanced(tmp_path / name, JSON_WRITERS[name](rows))
    assert outcome.values == rows
    assert all(severity == "warning" for _, _, severity in outcome.problems)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", as_parquet),
        ("a.arrow", as_arrow),
        ("a.feather", as_feather),
        ("a.parquet.gz", lambda rows: gzip.compress(as_parquet(rows))),
    ],
)
@RELAXED
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "a": text,
                "b": st.lists(text, max_size=2),
                "c": st.fixed_dictionaries({"d": st.integers(0, 9)}),
            }
        ),
        min_size=1,
        max_size=9,
    )
)
def test_columnar_round_trip(
    tmp_path: Path, name: str, write: Callable[[list[Any]], bytes], rows: list[dict[str, Any]]
) -> None:
    outcome = balanced(tmp_path / name, write(rows))
    assert outcome.rows == list(enumerate(rows, 1))
    assert outcome.problems == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@RELAXED
@given(
    rows=st.lists(
        st.fixed_dictionaries({"left": cells, "right": cells.map(lambda t: t + ".")}),
        min_size=1,
        max_size=6,
    )
)
def test_csv_round_trip(tmp_path: Path, delimiter: str, rows: list[dict[str, str]]) -> None:
    outcome = balanced(tmp_path / "a.csv", as_csv(rows, delimiter))
    assert outcome.values == rows


@RELAXED
@given(
    rows=st.lists(records, min_size=1, max_size=30),
    ends=st.sampled_from([b"\n", b"\r\n"]),
    parts=st.integers(2, 6),
)
def test_ranges_together_are_the_file(
    tmp_path: Path, rows: list[dict[str, Any]], ends: bytes, parts: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(ends.join(json.dumps(row).encode() for row in rows))
    (source,) = find_sources([str(path)], hub=HubChoice())
    ranges = split_ranges(source, parts)
    found: list[tuple[int, Any]] = []
    offset = 0
    for part in ranges:
        outcome = flatten(open_batches(source, part))
        found.extend((offset + line, value) for line, value in outcome.rows)
        offset += outcome.reading.lines
    if ranges:
        assert found == read_file(path).rows
        assert ranges[0].start == 0
        assert ranges[-1].end == source.size


@given(name=st.text(max_size=30).filter(lambda n: "\0" not in n))
def test_any_path_is_a_data_error_or_a_source(name: str) -> None:
    if not name.strip("./~") or "/" in name:
        return
    try:
        find_sources([name], hub=HubChoice())
    except DataError as error:
        assert str(error)
