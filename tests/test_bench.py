"""The benchmarks still run: they are no tests, and break unseen where what they measure changes."""

import subprocess
import sys

import pytest

from tests.commands import ROOT, environment

SMALL = {
    "data.py": "--rows 2000 --near",
    "fuzz_readers.py": "--seconds 2",
    "merge_memory.py": "--layers 2",
    "on_gpu.py": "memory --only lora --steps 1",
    "online.py": "--prompts 2 --group 2 --new 4 --repeat 2",
    "tokens.py": "--rows 300",
}


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
