"""What is known of a model before llm-compressor loads it, and what is refused."""

from pathlib import Path

import pytest

from fine_tuning.disk.files import read_json
from fine_tuning.errors import EngineError, EnvironmentProblem, ModelError
from fine_tuning.ship.llm_compressor import compress, place, plan
from fine_tuning.values.tables.compressed import COMPRESSED
from tests.commands import ROOT
from tests.llm_compressor import written

DEMO = ROOT / "demo_model"
GPTQ = COMPRESSED["gptq"]


def test_the_group_is_the_largest_that_divides_every_layer() -> None:
    assert {inputs for _, inputs in plan.matrices(DEMO).values()} == {192, 384}
    assert len(plan.matrices(DEMO)) == 28
    assert plan.group_for(DEMO, "gptq", GPTQ) == 64
    assert plan.group_for(DEMO, "fp8", COMPRESSED["fp8"]) == 0


def test_a_model_that_no_group_divides_is_refused_with_its_sizes(tmp_path: Path) -> None:
    weights = {"model.layers.0.up_proj.weight": (8, 100), "model.layers.0.q_proj.weight": (8, 96)}
    with pytest.raises(ModelError, match="no group of inputs fits") as refused:
        plan.group_for(written(tmp_path, weights), "awq", COMPRESSED["awq"])
    assert refused.value.why == "layers have 100 inputs, which neither 128 nor 64 nor 32 divides"
    assert "--export_quantization fp8" in refused.value.fix
    with pytest.raises(ModelError, match="no layers that it knows"):
        plan.group_for(written(tmp_path, {"model.norm.weight": (8,)}), "awq", COMPRESSED["awq"])


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"vision_config": {"depth": 1}}, "takes pictures"),
        ({"num_local_experts": 8}, "a mixture of experts"),
        ({"auto_map": {"AutoModel": "own.py"}}, "its own code"),
    ],
)
def test_kinds_of_models_that_nobody_tried_are_refused(
    config: dict[str, object], why: str, tmp_path: Path
) -> None:
    plan.refuse_unknown(DEMO, "fp8")
    with pytest.raises(ModelError, match="plain language models") as refused:
        plan.refuse_unknown(written(tmp_path, {"a.weight": (2, 2)}, **config), "fp8")
    assert why in refused.value.why


def test_more_rows_and_more_passes_take_longer() -> None:
    layers = [*plan.matrices(DEMO).values()]
    few, many = (plan.operations(layers, tokens, GPTQ) for tokens in (1_000, 100_000))
    assert few < many < plan.operations(layers, 100_000, COMPRESSED["awq"]) * 2
    assert plan.operations_a_second() > 1e8


def test_where_it_is_missing_the_command_that_gets_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(place.VARIABLE, str(tmp_path))
    with pytest.raises(EnvironmentProblem) as missing:
        place.find(None)
    assert str(tmp_path) in missing.value.why
    assert "`make llm-compressor` gets it" in missing.value.fix
    assert "llmcompressor==0.12.0.2" in missing.value.fix
    for name in ("llmcompressor", "transformers", "datasets"):
        (tmp_path / name).mkdir()
    assert place.find(None) == tmp_path
    with pytest.raises(EnvironmentProblem):
        place.find(tmp_path / "elsewhere")


LAYERS = {"model.layers.0.up_proj.weight": (8, 64), "model.layers.0.q_proj.weight": (8, 64)}


def test_layers_that_were_left_as_they_were_are_noticed(tmp_path: Path) -> None:
    model = written(tmp_path / "model", LAYERS)
    up = {
        "model.layers.0.up_proj.weight_packed": (8, 8),
        "model.layers.0.up_proj.weight_scale": (8, 1),
    }
    made = written(tmp_path / "made", up | {"model.layers.0.q_proj.weight": (8, 64)})
    with pytest.raises(EngineError, match="left 1 of 2 layers") as refused:
        compress.require_all(made, model)
    assert "model.layers.0.q_proj" in refused.value.why
    with pytest.raises(EngineError, match="left 2 of 2 layers"):
        compress.require_all(model, model)


def test_all_but_the_weights_is_that_of_the_merged_model(tmp_path: Path) -> None:
    model = written(tmp_path / "model", LAYERS, model_type="llama", transformers_version="5.5.4")
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        (model / name).write_text("trained", encoding="utf-8")
    packed = {"quant_method": "compressed-tensors"}
    made = written(tmp_path / "made", LAYERS, transformers_version="9", quantization_config=packed)
    (made / "generation_config.json").write_text("its own", encoding="utf-8")
    (target := tmp_path / "target").mkdir()
    compress.take(made, model, target)
    assert {path.name for path in target.iterdir()} == {path.name for path in model.iterdir()}
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (target / name).read_text(encoding="utf-8") == "trained"
    kept = {"model_type": "llama", "transformers_version": "5.5.4"}
    assert read_json(target / "config.json", "") == {**kept, "quantization_config": packed}
