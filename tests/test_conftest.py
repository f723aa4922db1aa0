"""The last line of a run of the suite."""

import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT


def test_the_last_line_says_what_was_skipped_and_how_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_one(): pass\n"
        "@pytest.mark.skipif(True, reason='no mouse: `make mouse` gets one')\n"
        "@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_two(number): pass\n",
        encoding="utf-8",
    )
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_unconfigure\n", encoding="utf-8"
    )
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1"]
    done = subprocess.run(
        [*pytest, "-m", "not slow", "-c", str(ROOT / "pyproject.toml"), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 2 skipped" in lines[-2]
    assert lines[-1] == (
        "Skipped: no mouse: `make mouse` gets one (2); marked slow: `make test-all` runs them."
    )
