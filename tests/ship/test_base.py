"""An adapter knows the base model that it was trained on by what that holds, not by its name."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from fine_tuning.errors import ModelError
from fine_tuning.ship.base import fingerprint, note_base, require_trained_on


def base(folder: Path, *, files: int = 1, change: float = 0.0, **config: Any) -> Path:
    folder.mkdir()
    known = {"model_type": "llama", "rope_theta": 1e6, "_name_or_path": str(folder), **config}
    (folder / "config.json").write_text(json.dumps(known))
    weights = {f"layers.{i}.weight": numpy.full((40, 50), i, "float32") for i in range(4)}
    weights["layers.3.weight"][20, :] += change
    for part in range(files):
        names = sorted(weights)[part::files]
        save_file({name: weights[name] for name in names}, folder / f"model-{part}.safetensors")
    return folder


def adapter(folder: Path, number: float) -> Path:
    folder.mkdir()
    save_file({"a": numpy.full(4, number)}, folder / "adapter_model.safetensors")
    return folder


def test_the_same_model_in_another_place_and_other_files_is_the_same(tmp_path: Path) -> None:
    first = base(tmp_path / "a")
    assert fingerprint(first) == fingerprint(base(tmp_path / "b", files=3, use_cache=False))
    assert fingerprint(tmp_path) is None


@pytest.mark.parametrize("other", [{"change": 1e-3}, {"rope_theta": 1e4}], ids=str)
def test_another_model_of_the_same_shape_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    """It was merged and proved: the proof compared with the same wrong base."""
    made = adapter(tmp_path / "adapter", 1)
    note_base(made, "org/Base", base(tmp_path / "right"), [])
    require_trained_on(made, tmp_path / "right", [])
    with pytest.raises(ModelError, match="was not trained on") as caught:
        require_trained_on(made, base(tmp_path / "wrong", **other), [])
    assert "org/Base" in caught.value.why


def test_an_adapter_upon_an_adapter_is_not_merged_alone(tmp_path: Path) -> None:
    right, first = base(tmp_path / "base"), adapter(tmp_path / "first", 1)
    second, other = adapter(tmp_path / "second", 2), adapter(tmp_path / "other", 3)
    note_base(second, "org/Base", right, [first])
    require_trained_on(second, right, [first])
    require_trained_on(second, right)
    for before in ([], [other], [first, other]):
        with pytest.raises(ModelError, match="was trained upon 1 adapter, and is"):
            require_trained_on(second, right, before)


def test_an_adapter_of_others_says_nothing(tmp_path: Path) -> None:
    require_trained_on(adapter(tmp_path / "adapter", 1), tmp_path, [])
