"""What Ollama is given: a GGUF file, or the merged model where it imports that by itself."""

import json
from pathlib import Path

import pytest

from fine_tuning.errors import EnvironmentProblem, UsageError
from fine_tuning.stages.shipping.llama_cpp import gguf
from fine_tuning.values.record import Stages
from fine_tuning.values.spec import RunSpec
from tests.commands import ROOT

DEMO = ROOT / "demo_model"


def named(tmp_path: Path) -> Path:
    """A base model of a kind that Ollama does not import."""
    folder = tmp_path / "qwen3"
    folder.mkdir()
    config = {"architectures": ["Qwen3ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_ollama_is_given_what_was_asked_for(tmp_path: Path) -> None:
    alone = RunSpec(ollama="mine").with_places(tmp_path / "run")
    assert gguf.types_for(alone, DEMO) == (("q8_0",), "")
    merged = RunSpec(ollama="mine", export_dir=tmp_path / "merged").with_places(tmp_path / "run")
    assert gguf.types_for(merged, DEMO) == ((), "")
    both = merged.replace(gguf=("q4_k_m",))
    assert gguf.types_for(both, DEMO) == (("q4_k_m",), "")
    assert gguf.types_for(merged.replace(ollama=None), named(tmp_path)) == ((), "")


def test_a_place_that_takes_no_files_is_refused_before_it_trains(tmp_path: Path) -> None:
    """It was found when the training had ended."""
    (tmp_path / "file").touch()
    spec = RunSpec(ollama="mine", gguf_dir=tmp_path / "file" / "here")
    with pytest.raises(UsageError, match=r"--gguf_dir .*here cannot be made: .*file is a file"):
        gguf.refuse_unmakeable(spec, "mine", Stages())


def test_a_model_that_it_does_not_import_becomes_a_file_and_needs_llama_cpp_before_it_trains(
    tmp_path: Path,
) -> None:
    spec = RunSpec(ollama="mine", export_dir=tmp_path / "merged", llama_cpp=ROOT / "docs")
    spec = spec.with_places(tmp_path / "run")
    base = named(tmp_path)
    types, why = gguf.types_for(spec, base)
    assert types == ("q8_0",) and why == "Ollama does not import Qwen3ForCausalLM from safetensors"
    gguf.refuse_base(spec, str(DEMO))
    with pytest.raises(EnvironmentProblem, match=r"holds nothing of llama\.cpp's"):
        gguf.refuse_base(spec, str(base))
