"""An adapter that somebody gives is one, and is what was trained."""

from pathlib import Path

import pytest

from fine_tuning import hashes
from fine_tuning.errors import DataError, ModelError
from fine_tuning.ship.adapter import require_adapter
from fine_tuning.stages.refusing import refuse_unstartable
from fine_tuning.values.spec import RunSpec


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_an_adapter_without_hashes_is_taken_as_it_is(adapter: Path) -> None:
    require_adapter(adapter)


def test_a_changed_adapter_is_neither_merged_nor_trained_further(
    adapter: Path, tmp_path: Path
) -> None:
    hashes.write(adapter, hashes.OF_A_MODEL)
    require_adapter(adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(DataError, match=r"adapter_model\.safetensors has changed"):
        require_adapter(adapter)
    spec = RunSpec(
        output_dir=tmp_path / "run",
        model_name_or_path=str(tmp_path),
        engine_args={"adapter_name_or_path": str(adapter)},
    )
    with pytest.raises(DataError, match=r"adapter_model\.safetensors has changed"):
        refuse_unstartable(spec)


def test_a_directory_without_an_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no adapter"):
        require_adapter(tmp_path)
