"""GGUF files of a tiny model, by llama.cpp's own converter and quantiser."""

import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.ship.llama_cpp.place import home

needs_llama_cpp = pytest.mark.skipif(
    not all((home() / part).exists() for part in ("convert_hf_to_gguf.py", "quantizer")),
    reason="llama.cpp is not set up: `make llama-cpp` gets it",
)


def converted(model: Path, target: Path, outtype: str = "f32") -> Path:
    """The model as a GGUF file."""
    subprocess.run(
        [
            *(sys.executable, str(home() / "convert_hf_to_gguf.py"), str(model)),
            *("--outfile", str(target), "--outtype", outtype),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return target
