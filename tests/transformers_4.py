"""A release of Transformers 4 beside the installed one, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("transformers==4.57.1", "huggingface_hub==0.36.2", "tokenizers==0.22.1")
FIRST = 'import transformers; assert transformers.__version__.startswith("4.")\n'


def asked_of_4(program: str, *arguments: str, packages: Path) -> Any:
    """What the program prints as JSON in its last line; the release is put into `packages`."""
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(packages)]
    subprocess.run([*install, *PACKAGES], check=True)
    done = subprocess.run(
        [sys.executable, "-c", FIRST + program, *arguments],
        env={**os.environ, "PYTHONPATH": str(packages)},
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout.splitlines()[-1])
