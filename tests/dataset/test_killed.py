"""A check that is killed (kill -9) goes on with the files that it had not finished."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import psutil
import pytest

from fine_tuning.dataset.account import join, schedule
from fine_tuning.dataset.account.sink import FILES, PartResult
from fine_tuning.dataset.check import account
from fine_tuning.dataset.insight.findings import Findings
from fine_tuning.dataset.passes import PartJob, run_part
from fine_tuning.values.spec import DataSpec
from tests.commands import ROOT

# Kills itself in the middle of the second file, with rows of it on disk already.
CHECK_AND_DIE = """
import os, signal, sys
from pathlib import Path
from fine_tuning.dataset.account import schedule
from fine_tuning.dataset.check import account
from fine_tuning.values.spec import DataSpec
run_part, begun = schedule.run_part, []

def dying(job, advance):
    begun.append(job)
    die = lambda size: os.kill(os.getpid(), signal.SIGKILL)
    return run_part(job, die if len(begun) == 2 else advance)

schedule.run_part = dying
account(DataSpec(dataset_path=tuple(sys.argv[2:])), out_dir=Path(sys.argv[1]))
"""

# Two processes read; the parent is killed as soon as both have begun.
READ_WITH_TWO = """
import sys
from pathlib import Path
from fine_tuning.dataset.check import account
from fine_tuning.values.spec import DataSpec
if __name__ == "__main__":
    spec = DataSpec(dataset_path=tuple(sys.argv[2:]), num_workers=2)
    account(spec, out_dir=Path(sys.argv[1]))
"""


def test_reading_processes_end_when_the_command_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "read.py"
    script.write_text(READ_WITH_TWO, encoding="utf-8")
    rows = [{"instruction": f"q{row}", "output": "answer " * 40} for row in range(300_000)]
    path = tmp_path / "big.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reading = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out"), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    parts = tmp_path / "out" / "cache"
    wait_until(lambda: len(list(parts.glob("*/*/rows.jsonl"))) == 2)
    family = psutil.Process(reading.pid).children(recursive=True)
    reading.kill()
    reading.wait()
    wait_until(lambda: not any(map(alive, family)))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("dedup", [False, True])
@pytest.mark.parametrize("joined", range(4))
def test_a_check_that_ended_while_it_joined_its_parts_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: int, dedup: bool
) -> None:
    """Rows of joined parts are gone, so these parts are read again, and others are not."""
    for name in "abc":
        good = [{"instruction": f"{name}{row}", "output": "answer"} for row in range(50)]
        rows = [*good, good[0], {"instruction": "blank", "output": " "}]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    spec = DataSpec(dataset_path=tuple(str(tmp_path / f"{name}.jsonl") for name in "abc"))
    spec = replace(spec, dedup=dedup, near_duplicates=False)
    whole = account(spec, out_dir=tmp_path / "whole")
    append = join._append
    calls: list[Path] = []

    def ending(part: Path, out: BinaryIO) -> None:
        if len(calls) == joined:
            raise KeyboardInterrupt
        calls.append(part)
        append(part, out)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(join, "_append", ending)
        account(spec, out_dir=tmp_path / "out")
        raise KeyboardInterrupt  # it joins fewer parts than that
    again = account(spec, out_dir=tmp_path / "out")
    for before, after in (
        (whole.rows_path, again.rows_path),
        (whole.origins_path, again.origins_path),
        (whole.rejected_path, again.rejected_path),
    ):
        assert after.read_bytes() == before.read_bytes()
    reports = [json.loads(data.report_path.read_bytes()) for data in (whole, again)]
    for report in reports:
        report["findings"].pop("seconds")
    assert reports[0] == reports[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_are_not_read_again_once_their_rows_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """A check that is killed in the search for near-duplicates has all its rows still."""
    path, held_out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    rows = [{"instruction": f"q{row}", "output": "answer " * 30} for row in range(8_000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    held_out.write_text(json.dumps({"instruction": "q", "output": "a"}) + "\n", encoding="utf-8")
    spec = DataSpec(dataset_path=(str(path),), num_workers=workers)
    monkeypatch.setattr(schedule, "SMALLEST_CUT", 1000)

    def ending(*known: object, **named: object) -> Findings:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        account(spec, out_dir=out, validation_paths=[str(held_out)], look=ending)
    with monkeypatch.context() as reading:
        reading.setattr(schedule, "run_part", ending)
        reading.setattr(schedule, "ProcessPoolExecutor", ending)
        again = account(spec, out_dir=out, validation_paths=[str(held_out)])
    whole = account(spec, out_dir=tmp_path / "whole", validation_paths=[str(held_out)])
    assert again.rows_kept == 8_001
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert again.origins_path.read_bytes() == whole.origins_path.read_bytes()
    assert again.fingerprint == whole.fingerprint


@pytest.mark.parametrize("first", [True, False])
def test_a_killed_check_with_dedup_leaves_nothing_to_one_without(
    tmp_path: Path, first: bool
) -> None:
    """Its joined rows lack the repeats; and the other way round they have them still."""
    path = tmp_path / "a.jsonl"
    rows = [{"instruction": f"q{row % 40}", "output": "answer"} for row in range(50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def ending(*known: object, **named: object) -> Findings:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    spec = DataSpec(dataset_path=(str(path), str(path)), near_duplicates=False)
    with pytest.raises(KeyboardInterrupt):
        account(replace(spec, dedup=first), out_dir=out, look=ending)
    again = account(replace(spec, dedup=not first), out_dir=out)
    whole = account(replace(spec, dedup=not first), out_dir=tmp_path / "whole")
    assert again.rows_kept == whole.rows_kept
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert again.origins_path.read_bytes() == whole.origins_path.read_bytes()


@pytest.mark.parametrize("lost", FILES)
def test_a_part_that_lost_a_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """As a check leaves it that is killed while it clears its cache."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "q", "output": "a"}\n{"instruction": ""}\n')
    spec = DataSpec(dataset_path=(str(path),))
    whole = account(spec, out_dir=tmp_path / "whole")

    def clearing(cache: Path | str, **named: object) -> None:
        if Path(cache).name == "cache":
            next(Path(cache).glob(f"*/*/{lost}")).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("shutil.rmtree", clearing)
        account(spec, out_dir=tmp_path / "out")
    again = account(spec, out_dir=tmp_path / "out")
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert again.rejected_path.read_bytes() == whole.rejected_path.read_bytes()


def test_finished_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for number, path in enumerate(paths):
        rows = [
            {"instruction": f"q{number}.{row}", "output": "answer " * 20} for row in range(20_000)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", CHECK_AND_DIE, str(out), *map(str, paths)], cwd=ROOT
    )
    assert killed.returncode == -signal.SIGKILL
    read: list[Path] = []

    def noted(job: PartJob, advance: Callable[[int], None]) -> PartResult:
        read.append(job.source.path)
        return run_part(job)

    monkeypatch.setattr(schedule, "run_part", noted)
    data = account(DataSpec(dataset_path=tuple(map(str, paths))), out_dir=out)
    assert read == paths[1:]
    assert data.rows_read == data.rows_kept == 60_000
    lines = data.rows_path.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 60_000
    assert not (out / "cache").exists()
