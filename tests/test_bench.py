"""The benchmarks still run: they are no tests, and break unseen where what they measure changes."""

import re
import subprocess
import sys

import pytest

from tests.commands import ROOT, environment

SMALL = {
    "data.py": "--rows 2000 --near",
    "fuzz_readers.py": "--seconds 2",
    "merge_memory.py": "--layers 2",
    "on_gpu.py": "ways --only lora --steps 1",
    "online.py": "--repeat 2",
    "tokens.py": "--rows 300",
}


@pytest.mark.slow
@pytest.mark.engine
def test_a_check_takes_a_part_of_the_time_of_load_and_align() -> None:
    """By processor time, which other programs disturb little; 6 and 3 times as fast where nothing
    else runs (docs/benchmarks.md)."""
    words = ("--rows", "100000", "--near")
    script = str(ROOT / "bench" / "data.py")
    done = subprocess.run(
        [sys.executable, script, *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    found = dict(re.findall(r"^(.*?) {2,}.*\((\d+\.\d) x by CPU time\)", done.stdout, re.MULTILINE))
    assert float(found["validate, the whole command, 1 process"]) >= 5, done.stdout
    assert float(found["validate with near-duplicates"]) >= 2.5, done.stdout


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / name), *SMALL[name].split()],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a measurement failed" not in done.stdout + done.stderr
