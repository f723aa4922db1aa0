"""An adapter that somebody gives is one, and is what was trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.disk import hashes
from fine_tuning.errors import DataError, ModelError, UsageError
from fine_tuning.ship.adapter import (
    refuse_prompts,
    refuse_quantised,
    refuse_uncombinable,
    require_adapter,
    require_fitting,
)
from fine_tuning.ship.weights import unknown_layers, warning_of_names
from fine_tuning.stages.preparing.refusing import refuse_unstartable
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


def write_adapter(
    folder: Path, shapes: Mapping[str, tuple[int, ...]] | None = None, **how: Any
) -> Path:
    import numpy
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "org/Base", **how}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    arrays = {name: numpy.zeros(shape, "float32") for name, shape in (shapes or {}).items()}
    save_file(arrays, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("how", "more", "message"),
    [
        ("linear", {"r": 8}, "--combine linear takes adapters of one rank, and these have 4, 8: "),
        ("ties", {"r": 8}, "take cat or svd or ties_svd"),
        ("cat", {"use_dora": True}, "b is a DoRA adapter"),
        ("cat", {"peft_type": "OFT"}, "b is not of the kind LoRA"),
        ("svd", {"modules_to_save": ["lm_head"]}, "b holds parts .* trained whole"),
        ("svd", {"bias": "all"}, "b has trained biases"),
    ],
)
def test_adapters_that_cannot_become_one_are_refused(
    how: str, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """PEFT would have made one without the trained head, and said nothing."""
    both = [write_adapter(tmp_path / "a"), write_adapter(tmp_path / "b", **more)]
    with pytest.raises(UsageError, match=message):
        refuse_uncombinable(both, how)
    refuse_uncombinable([both[0], both[0]], how)


def test_virtual_tokens_are_not_merged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"virtual tokens \(prefix_tuning\)"):
        refuse_prompts(write_adapter(tmp_path / "p", peft_type="PREFIX_TUNING"))


LAYER = "model.layers.1.mlp.up_proj"


def test_an_adapter_that_lacks_a_matrix_is_refused_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    """PEFT filled it with random numbers, and the proof asked to report the model's name."""
    whole = f"base_model.model.{LAYER}"
    other = whole.replace("1", "2")
    shapes = {f"{whole}.lora_A.weight": (4, 64), f"{whole}.lora_B.weight": (128, 4)}
    write_adapter(tmp_path / "adapter", {**shapes, f"{other}.lora_B.weight": (128, 4)})
    with pytest.raises(ModelError, match=r"is not whole: of 1 layer, first model"):
        require_fitting(tmp_path / "adapter", tmp_path / "base")


@pytest.mark.parametrize(
    ("left", "chosen", "whole"), [(2, None, False), (0, None, True), (2, [1], True)]
)
def test_an_adapter_that_passes_over_layers_is_refused(
    left: int, chosen: list[int] | None, whole: bool, tmp_path: Path
) -> None:
    """Of a file that lost its first layers PEFT said nothing: they stayed those of the base."""
    import numpy
    from safetensors.numpy import save_file

    names = [LAYER.replace("1", str(number)) for number in range(4)]
    (tmp_path / "base").mkdir()
    weights = {f"{name}.weight": numpy.zeros((128, 64), "float16") for name in names}
    save_file(weights, tmp_path / "base" / "model.safetensors")
    factors = {"lora_A.weight": (4, 64), "lora_B.weight": (128, 4)}
    kept = {
        f"base_model.model.{name}.{it}": size
        for name in names[left:]
        for it, size in factors.items()
    }
    adapter = write_adapter(tmp_path / "adapter", kept)
    config = {"target_modules": ["up_proj"], "layers_to_transform": chosen}
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    if whole:
        require_fitting(adapter, tmp_path / "base")
        return
    with pytest.raises(ModelError, match=r"nothing for 2 layers .* first layers\.0\.mlp\.up_proj"):
        require_fitting(adapter, tmp_path / "base")


@pytest.mark.parametrize(
    ("layer", "size", "message"),
    [
        (LAYER, (128, 64), ""),
        ("model.language_model.layers.1.mlp.up_proj", (128, 64), ""),
        (LAYER, (256, 64), "its layers.1.mlp.up_proj is 256 x 64, the base model's 128 x 64"),
        ("transformer.h.1.mlp.c_fc", (128, 64), "it has no layer named h.1.mlp.c_fc"),
    ],
)
def test_an_adapter_of_another_base_is_refused_before_anything_is_loaded(
    layer: str, size: tuple[int, int], message: str, tmp_path: Path
) -> None:
    import numpy
    from safetensors.numpy import save_file

    (tmp_path / "base").mkdir()
    weights = {f"{LAYER}.weight": numpy.zeros((128, 64), "float16")}
    save_file(weights, tmp_path / "base" / "model.safetensors")
    factors = {"lora_A.weight": (4, size[1]), "lora_B.weight": (size[0], 4)}
    shapes = {f"base_model.model.{layer}.{name}": shape for name, shape in factors.items()}
    adapter = write_adapter(tmp_path / "adapter", shapes)
    if not message:
        require_fitting(adapter, tmp_path / "base")
        return
    with pytest.raises(ModelError, match=message) as caught:
        require_fitting(adapter, tmp_path / "base")
    assert "org/Base" in caught.value.fix


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", ""])
def test_nothing_is_merged_into_quantised_weights(method: str, tmp_path: Path) -> None:
    """It failed after hours of training, when the model was loaded to be merged."""
    stored = {"quantization_config": {"quant_method": method}} if method else {}
    (tmp_path / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    if method in ("fp8", ""):
        refuse_quantised(tmp_path)
        return
    with pytest.raises(ModelError, match=rf"stored quantised \({method}\): no adapter") as caught:
        refuse_quantised(tmp_path)
    assert "serve base and adapter unmerged" in caught.value.fix


def test_layers_that_the_base_names_otherwise_are_named(tmp_path: Path) -> None:
    """A server that goes by the base model's names serves the base, and says nothing."""
    import numpy
    from safetensors.numpy import save_file

    (tmp_path / "base").mkdir()
    save_file({f"{LAYER}.weight": numpy.zeros(4)}, tmp_path / "base" / "model.safetensors")
    other = LAYER.replace("model.", "model.language_model.")
    factors = {f"base_model.model.{layer}.lora_A.weight": (4,) for layer in (LAYER, other)}
    adapter = write_adapter(tmp_path / "adapter", factors)
    assert unknown_layers(adapter, tmp_path / "base") == ([other], 2)
    assert unknown_layers(adapter, tmp_path) == ([], 2)
    warning = warning_of_names(adapter, tmp_path / "base")
    assert warning.startswith("1 of 2 layers of the adapter have other names") and other in warning
    assert warning_of_names(adapter, tmp_path) == ""
