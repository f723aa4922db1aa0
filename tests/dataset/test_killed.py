"""A check that is killed (kill -9) starts again, and leaves nothing that could mislead."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import ROOT

ENTRY = ("llama_factory_fine_tuning.py",)

# Kills itself as it enters a function for the second time (or the only one).
VALIDATE_AND_DIE = """
import os, signal, sys
from importlib import import_module
from fine_tuning.cli.main import main
place, times, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
module, name = import_module(place.rpartition(".")[0]), place.rpartition(".")[2]
called, original = [], getattr(module, name)

def dying(*known, **named):
    called.append(name)
    if len(called) == times:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*known, **named)

setattr(module, name, dying)
main(arguments)
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
    parts = tmp_path / "out" / "unfinished" / "parts"
    wait_until(lambda: len(list(parts.glob("**/rows.jsonl"))) == 2)
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files with repeats, blank answers and a validation split."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("a", "b", "validation"):
        rows = [{"instruction": f"{name}{row}", "output": "an answer " * 20} for row in range(60)]
        rows += [rows[0], {"instruction": "blank", "output": " "}]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [folder / f"{name}.jsonl" for name in ("a", "b", "validation")]


def results(folder: Path) -> dict[str, Any]:
    """Every file that a check left, without times and places."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            report = json.loads(path.read_bytes())
            report["findings"].pop("seconds")
            report["findings"]["near"].pop("seconds")
            found[path.name] = report
        elif path.suffix != ".html":
            found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


def validate(report: Path, data: list[Path], *more: str, by: Sequence[str] = ENTRY) -> int:
    command = ["validate", "--dataset_path", *map(str, data[:2]), "--val_dataset_path"]
    command += [str(data[2]), "--report", str(report), *more]
    done = subprocess.run([sys.executable, *by, *command], cwd=ROOT, capture_output=True)
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: list[Path]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert validate(folder / "report.json", data) == 1
    return results(folder)


@pytest.mark.parametrize(
    ("place", "times"),
    [
        ("fine_tuning.dataset.passes._run_part", 2),
        ("fine_tuning.dataset.account.join._write_origins", 2),
        ("fine_tuning.dataset.insight.near.find._buckets", 1),
        ("shutil.copyfile", 2),
    ],
)
def test_a_killed_check_leaves_nothing_to_the_next(
    tmp_path: Path, data: list[Path], undisturbed: dict[str, Any], place: str, times: int
) -> None:
    report = tmp_path / "report.json"
    dying = ["-c", VALIDATE_AND_DIE, place, str(times)]
    assert validate(report, data, "--dedup", by=dying) == -signal.SIGKILL
    assert not report.with_name("rejected.jsonl").exists()
    assert validate(report, data) == 1
    assert results(tmp_path) == undisturbed
    assert undisturbed.keys() == {"report.json", "rejected.jsonl"}
