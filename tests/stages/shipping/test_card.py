"""The card of a model that no run made."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fine_tuning.stages.shipping import card
from fine_tuning.values.results import BaseModel, Quantized

SMALL = Quantized(
    path=Path("tiny-fp8"),
    format="fp8",
    method="FP8_DYNAMIC",
    group=0,
    calibration=None,
    layers=28,
    bytes=1,
)


@pytest.mark.parametrize(
    ("copies", "relation", "said"),
    [
        (True, "quantized", "A copy of me/tiny, revision v1."),
        (False, "finetune", "A model trained from me/tiny, revision v1."),
    ],
)
def test_a_quantised_model_of_others_says_of_what_it_is_and_how_it_is_loaded(
    copies: bool, relation: str, said: str, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    folder = tmp_path / "tiny-fp8"
    folder.mkdir()
    known = BaseModel(name="me/tiny", location=str(base))
    card.write_card_without_run(folder, known, "v1", SMALL, copies=copies)
    written = ModelCard.load(folder / "README.md")
    assert (
        written.data.to_dict().items()
        >= {
            "base_model": "me/tiny",
            "base_model_relation": relation,
            "license": "mit",
        }.items()
    )
    assert said in written.text
    assert "weights: 8 bits, floating point (E4M3) (FP8_DYNAMIC), by llm-compressor" in written.text
    assert "'tiny-fp8'" in written.text and "from_pretrained(" in written.text
    assert "vllm serve tiny-fp8" in written.text
    assert "LLaMA-Factory" not in written.text, "nobody knows by what it was trained"
