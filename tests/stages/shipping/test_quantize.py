"""What is refused, and said, before a model is written for GPU servers."""

from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.errors import EnvironmentProblem, ModelError, UsageError
from fine_tuning.ship.llm_compressor import place
from fine_tuning.stages.shipping import quantize, shippers
from fine_tuning.values.record import Stages
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.compressed import COMPRESSED
from tests.commands import ROOT
from tests.llm_compressor import written

DEMO = ROOT / "demo_model"


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A wish for fp8, with a folder that looks like llm-compressor's."""
    tool = tmp_path / "tool"
    for name in ("llmcompressor", "transformers", "datasets"):
        (tool / name).mkdir(parents=True)
    asked = RunSpec(
        model_name_or_path=str(DEMO), export_quantization="fp8", llm_compressor=tool, use_cpu=True
    )
    return asked.with_places(tmp_path / "run")


def test_the_place_is_derived_and_must_be_empty(spec: RunSpec, tmp_path: Path) -> None:
    assert spec.quantized_dir == tmp_path / "run-fp8" and spec.wants_merged
    assert spec.export_dir == tmp_path / "run-merged"
    quantize.refuse_unmakeable(spec, Stages())
    (tmp_path / "run-fp8").mkdir()
    (tmp_path / "run-fp8" / "mine").touch()
    with pytest.raises(UsageError, match=r"--quantized_dir .*run-fp8 is not empty"):
        shippers.refuse_unmakeable(spec, tmp_path / "run", Stages())
    with pytest.raises(UsageError, match="a reward model gives scores"):
        quantize.refuse_unmakeable(replace(spec, stage="rm"), Stages())


def test_a_run_is_refused_before_it_trains_where_llm_compressor_is_missing(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "home", lambda: tmp_path / "nothing")
    with pytest.raises(EnvironmentProblem, match="llm-compressor"):
        shippers.refuse_unmakeable(replace(spec, llm_compressor=None), tmp_path / "run", Stages())


def test_a_base_that_cannot_be_written_so_is_refused_before_it_is_loaded(
    spec: RunSpec, tmp_path: Path
) -> None:
    base = written(tmp_path / "odd", {"model.layers.0.up_proj.weight": (8, 100)})
    shippers.refuse_base(spec, str(base))
    with pytest.raises(ModelError, match="no group of inputs fits"):
        shippers.refuse_base(replace(spec, export_quantization="gptq"), str(base))


def test_formats_that_are_fitted_need_the_rows_of_a_run(spec: RunSpec) -> None:
    quantize.refuse_without_run(spec)
    with pytest.raises(UsageError, match="fitted to the rows of the training") as refused:
        shippers.refuse_unmakeable_of_model(replace(spec, export_quantization="awq"), "model")
    assert "--output_dir" in refused.value.fix and "fp8" in refused.value.fix


def test_whether_a_gpu_is_needed_is_said(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    [said] = quantize.needs(spec, DEMO, COMPRESSED["fp8"], 0)
    assert said.startswith("Writing it needs no GPU and no rows")
    [said] = quantize.needs(spec, DEMO, COMPRESSED["gptq"], 10_000)
    assert "without a GPU, which works and is slow: about 0:" in said
    monkeypatch.setattr(quantize, "driver_gpus", lambda: ["NVIDIA H100, 80 GB, 580"])
    monkeypatch.setattr(quantize, "gpus_are_hidden", lambda: False)
    [said] = quantize.needs(replace(spec, use_cpu=False), DEMO, COMPRESSED["gptq"], 10_000)
    assert said == "It is written on the GPU, a layer at a time."
