"""A model directory that cannot be loaded is named before anything else is done."""

import importlib.util
import json
from pathlib import Path

import pytest

from fine_tuning.demo import model_path
from fine_tuning.engine.models.source import model_location
from fine_tuning.errors import ModelError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 988097824\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with a configuration and a whole file of weights."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16)
    (tmp_path / "model.safetensors").write_bytes(content)
    return tmp_path


def refusal(model: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        model_location(str(model))
    return caught.value


def test_a_whole_model_is_found(model: Path) -> None:
    assert model_location(str(model)) == str(model.resolve())
    assert model_location(str(model_path())) == str(model_path().resolve())


def test_a_download_that_broke_off_is_named_with_its_size(model: Path) -> None:
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert refusal(model).what == (
        f"{weights} is damaged or incomplete ({len(whole) - 1:,} of {len(whole):,} bytes)."
    )


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"<html>not found</html>", b"\xff" * 64])
def test_a_file_that_is_no_weights(model: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    error = refusal(model)
    assert "model.safetensors is damaged or incomplete." in error.what
    assert "download the model again" in error.fix


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_clone_without_git_lfs(model: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(POINTER)
    error = refusal(model)
    assert error.what == f"{model / name} is a Git LFS pointer, not the weights."
    assert "git lfs pull" in error.fix


def test_a_directory_with_only_gguf(tmp_path: Path) -> None:
    (tmp_path / "m-q4.gguf").write_bytes(b"GGUF")
    assert "holds a GGUF model" in refusal(tmp_path).what


def test_a_kind_that_the_engine_cannot_train_is_refused_before_anything_is_loaded(
    model: Path,
) -> None:
    (model / "config.json").write_text('{"model_type": "gpt_oss"}', encoding="utf-8")
    with pytest.raises(ModelError, match="'gpt_oss' cannot be trained") as refused:
        model_location(str(model))
    assert "load_and_register_kernel" in refused.value.why


def test_the_reason_against_that_kind_still_holds() -> None:
    """The installed Transformers lacks what the installed engine loads for it."""
    found = importlib.util.find_spec("transformers")
    assert found is not None
    assert found.origin is not None
    kernels = Path(found.origin).parent / "integrations" / "hub_kernels.py"
    assert "load_and_register_kernel" not in kernels.read_text(encoding="utf-8")
