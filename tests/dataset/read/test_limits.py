"""Damaged archives, records of unusual size, and what a reading says of itself."""

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from fine_tuning.dataset.read import decode_block, open_batches, split_ranges
from fine_tuning.dataset.read.json import document, lines
from fine_tuning.dataset.read.json.document import read_document
from fine_tuning.dataset.read.json.lines import cut_blocks
from fine_tuning.dataset.sources import Source
from fine_tuning.errors import DataError
from fine_tuning.values.data import UNREADABLE, Block
from tests.commands import ROOT

from .conftest import Read, flatten

ROWS = [{"id": i, "text": f"row {i} " + "words " * (i % 50)} for i in range(5000)]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.json.gz", "a.csv.gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_cut_archive_gives_the_rows_before_the_cut(read: Read, name: str, share: float) -> None:
    content = LINES
    if ".json." in name:
        content = json.dumps(ROWS, indent=1).encode()
    elif ".csv" in name:
        content = b"id,text\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))
    packed = gzip.compress(content) if name.endswith("gz") else zstandard.compress(content)
    outcome = read(name, packed[: int(len(packed) * share)])
    assert (None, "damaged_file", "error") in outcome.problems
    assert "was cut" in " ".join(outcome.messages) or "ends early" in " ".join(outcome.messages)
    good = [value for value in outcome.values if value is not UNREADABLE]
    if name.endswith("gz"):
        assert len(good) > 5000 * share * 0.5
    if ".csv" not in name:
        assert good == ROWS[: len(good)]
    assert outcome.values.count(UNREADABLE) <= 1


def test_damage_in_the_middle_of_an_archive_is_named(read: Read) -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[len(packed) // 2] ^= 0xFF
    outcome = read("a.jsonl.gz", bytes(packed))
    assert (None, "damaged_file", "error") in outcome.problems
    assert outcome.values[:1000] == ROWS[:1000]


def test_an_archive_bomb_is_read_in_small_pieces(read: Read) -> None:
    bomb = zstandard.compress(b"\n" * 60_000_000)
    outcome = read("a.jsonl.zst", b"".join([zstandard.compress(b'{"a": 1}\n'), bomb]))
    assert outcome.values == [{"a": 1}]
    assert outcome.reading.lines == 60_000_001


def test_a_record_over_the_limit_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD", 1000)
    chunks = [b'{"a": 1}\n{"a": "', b"x" * 600, b"x" * 600, b"x" * 600, b'"}\n{"a": 2}\n']
    batches = list(cut_blocks(chunks))
    records = [decode_block(b) if isinstance(b, Block) else b for b in batches]
    found = [(line, v) for r in records for line, v in zip(r.lines, r.values, strict=True)]
    assert found == [(1, {"a": 1}), (2, UNREADABLE), (3, {"a": 2})]


def test_a_list_that_never_ends_a_record_stops_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document, "MAX_RECORD", 100_000)
    chunks = [b'[{"a": 1}, {"b": [', *([b"1, " * 1000] * 100)]
    batches = list(read_document(chunks))
    values = [value for batch in batches for value in batch.values]
    assert values == [{"a": 1}, UNREADABLE]
    assert batches[0].problems[0].code == "record_too_long"


def test_a_block_ends_before_a_record(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES * 20)
    source = Source(path=tmp_path / "a.jsonl", name="a.jsonl", kind="jsonl")
    blocks = [batch for batch in open_batches(source) if isinstance(batch, Block)]
    assert len(blocks) > 3
    assert b"".join(block.data for block in blocks) == LINES * 20
    line = 1
    for block in blocks:
        assert block.first_line == line
        assert block.data.startswith(b"{")
        line += block.data.count(b"\n")


def test_pretty_printed_lists_are_exact_across_windows(read: Read) -> None:
    rows = ROWS * 10
    text = json.dumps(rows, indent=2)
    outcome = read("a.json", text.encode())
    starts = [i for i, line in enumerate(text.split("\n"), 1) if line == "  {"]
    assert outcome.rows == list(zip(starts, rows, strict=True))
    assert outcome.problems == []


def test_one_broken_record_in_a_long_list_costs_only_itself(read: Read) -> None:
    for indent in (None, 2):
        text = json.dumps(ROWS * 4, indent=indent)
        broken = text.replace('"id": 700,', '"id": 700, "', 1)
        outcome = read(f"a{indent}.json", broken.encode())
        assert [i for i, v in enumerate(outcome.values) if v is UNREADABLE] == [700]
        assert len(outcome.values) == 20_000


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 5_000_000,
        b'{"a":' * 300_000,
        b'[{"a": 1}' + b" " * 5_000_000 + b',{"a": 2}]',
        b"[\n" + b'{"a": "x},' * 30_000,
        b"[\n  {}\n" + b'  {"a": "x},\n' * 30_000,
        b'[\n{"a": 1},' + b'{"b" 1},' * 30_000,
        b"[" + b"".join(b'{"k%d" 1},' % i for i in range(30_000)),
        b'{"a": ' + b"\n" * 1_000_000 + b'{"a": 1}\n' * 1000,
        b'"' * 1_000_001,
        b'{"a": "' + b"\\" * 3_000_001,
        b"," * 1_000_000 + b"]" * 10_000,
    ],
    ids=range(11),
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_nothing_hangs(read: Read, name: str, content: bytes) -> None:
    """The cost grows with the size, not with its square: these end in seconds or in days."""
    read(name, content)


def test_ranges_are_refused_where_the_file_must_be_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for content in (
        json.dumps(ROWS).encode(),
        LINES.decode().encode("utf-16"),
        LINES.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + LINES,
    ):
        path.write_bytes(content)
        source = Source(path=path, name="a", kind="jsonl", size=len(content))
        assert split_ranges(source, 4) == []


def test_ranges_of_a_large_file_add_up(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES)
    source = Source(path=path, name="a", kind="jsonl", size=len(LINES))
    ranges = split_ranges(source, 4)
    assert len(ranges) == 4
    outcomes = [flatten(open_batches(source, part)) for part in ranges]
    assert [value for outcome in outcomes for value in outcome.values] == ROWS
    assert sum(outcome.reading.lines for outcome in outcomes) == len(ROWS)
    assert min(len(outcome.values) for outcome in outcomes) > 1000


def test_a_file_that_vanished_is_a_data_error(tmp_path: Path) -> None:
    source = Source(path=tmp_path / "gone.jsonl", name="gone.jsonl", kind="jsonl")
    with pytest.raises(DataError, match=r"gone\.jsonl cannot be read"):
        list(open_batches(source))


@pytest.mark.parametrize("lead", [b'[{"a": 1},\n', b'{"a": 1}\n'])
def test_a_record_cut_off_inside_a_text_full_of_quotes_is_no_hang(read: Read, lead: bytes) -> None:
    began = time.perf_counter()
    outcome = read("a.json", lead + b'{"a": "' + b'\\"' * 200_000)
    assert time.perf_counter() - began < 10  # it took hours
    assert outcome.values == [{"a": 1}, UNREADABLE]
    assert "truncated" in outcome.codes


CHECK_AND_MEASURE = """
import json, sys
from pathlib import Path
from fine_tuning.dataset.check import account
from fine_tuning.values.spec import DataSpec
data = account(DataSpec(dataset_path=(sys.argv[1],)), out_dir=Path(sys.argv[2]))
named = [[g.code, g.count, g.first, g.example, g.suggestion] for g in data.problems]
# of this process alone: ru_maxrss begins with that of whoever started it
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
memory = int(peak.split()[1]) // 1024
print(json.dumps([data.rows_kept, named, memory]))
"""
AROUND = {
    "quoted.csv": (b'instruction,output\nq,a\nr,"', b'"\ns,b\n', 3),
    "bare.csv": (b"instruction,output\nq,a\nr,", b"\ns,b\n", 3),
    "rows.jsonl": (
        b'{"instruction": "q", "output": "a"}\n{"instruction": "r", "output": "',
        b'"}\n{"instruction": "s", "output": "b"}\n',
        2,
    ),
}


def pieces(name: str, megabytes: int) -> Iterator[bytes]:
    before, after, _ = AROUND[name]
    yield before
    for _ in range(megabytes):
        yield b"word " * 200_000
    yield after


@pytest.mark.parametrize(
    ("name", "megabytes"),
    [
        *((name, 40) for name in AROUND),
        pytest.param("quoted.csv", 140, marks=pytest.mark.slow),
        pytest.param("rows.jsonl", 190, marks=pytest.mark.slow),
        pytest.param("quoted.csv", 4000, marks=pytest.mark.slow),
    ],
)
def test_a_row_beyond_all_bounds_is_one_message_and_little_memory(
    tmp_path: Path, name: str, megabytes: int
) -> None:
    path = tmp_path / name
    if megabytes < 1000:
        with path.open("wb") as file:
            file.writelines(pieces(name, megabytes))
    else:
        path = tmp_path / f"{name}.zst"
        with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
            for piece in pieces(name, megabytes):
                packed.write(piece)
        assert path.stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AND_MEASURE, str(path), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    kept, named, memory = json.loads(done.stdout)
    size = "4.0 GB" if megabytes == 4000 else f"{megabytes}.0 MB"
    [(code, count, first, message, advice)] = named
    assert (kept, code, count) == (2, "record_too_long", 1)
    assert first == f"{path}:{AROUND[name][2]}"
    assert message == f"it has {size}; the limit is 32.0 MB"
    assert advice == "split it into several rows, or leave it out"
    assert memory < 1000
