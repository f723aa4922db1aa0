"""A release of Transformers 4 beside the installed one, in a process of its own.

    python -m tests.transformers_4 [--once]

puts it into .venv/transformers-4. With --once nothing is tried again after a failure.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

PACKAGES = ("transformers==4.57.1", "huggingface_hub==0.36.2", "tokenizers==0.22.1")
PLACE = Path(sys.prefix) / "transformers-4"
LOG = Path(sys.prefix) / "transformers-4.log"
FIRST = 'import transformers; assert transformers.__version__.startswith("4.")\n'
needs_transformers_4 = pytest.mark.skipif(
    not PLACE.is_dir(),
    reason="Transformers 4 is not there: `.venv/bin/python -m tests.transformers_4` gets it",
)


def asked_of_4(program: str, *arguments: str) -> Any:
    """What the program prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST + program, *arguments],
        env={**os.environ, "PYTHONPATH": str(PLACE)},
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout.splitlines()[-1])


def asked_of_5(program: str, *arguments: str) -> Any:
    """The same by the installed one, in this process."""
    said = io.StringIO()
    with patch.object(sys, "argv", ["-", *arguments]), redirect_stdout(said):
        exec(program, {})  # a test's own
    return json.loads(said.getvalue().splitlines()[-1])


def main(words: Sequence[str]) -> None:
    """Get it if it is not there; a failure stops nothing, since its tests are skipped then."""
    if PLACE.is_dir() or ("--once" in words and LOG.exists()):
        return
    print("Getting Transformers 4 for the tests of merged models (20 MB, once) ...", flush=True)
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:")
    with (
        tempfile.TemporaryDirectory(dir=PLACE.parent, prefix=".transformers-4-") as beside,
        LOG.open("wb") as log,
    ):
        made = Path(beside, "made")
        command = [*pip, "--target", str(made), *PACKAGES]
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode == 0:
            made.rename(PLACE)
            return
    print(f"Transformers 4 cannot be had here (log: {LOG}); what it loads is not tested.")


if __name__ == "__main__":
    main(sys.argv[1:])
