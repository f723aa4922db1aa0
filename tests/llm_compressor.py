"""Whether llm-compressor is set up, and a model to write with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fine_tuning.ship.llm_compressor.place import home, is_there

needs_llm_compressor = pytest.mark.skipif(
    not is_there(home()), reason="llm-compressor is not set up: `make llm-compressor` gets it"
)


def written(folder: Path, weights: Mapping[str, tuple[int, ...]], **config: Any) -> Path:
    """A model's directory with weights of these shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: np.zeros(shape, dtype=np.float16) for name, shape in weights.items()}
    save_file(found, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
