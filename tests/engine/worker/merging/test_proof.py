"""A merge that changed the model, or changed nothing, is refused; what rounding explains is not."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import EngineError
from tests.models import build_model

pytestmark = pytest.mark.engine

SEQUENCES = [[5, 6, 7, 8, 9, 10], [11, 12, 13, 14]]
DTYPES = ("float32", "float16", "bfloat16")
# How far training moved the adapter: as it does, and by less than a coarse format can hold.
SIZES = (2e-2, 1e-6)


@dataclass(frozen=True)
class Place:
    """A base model in one number format, and the folder beside it."""

    base: Path
    dtype: str

    @property
    def folder(self) -> Path:
        return self.base.parent

    def load(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.base, dtype=self.dtype)

    def adapter(self, size: float, *, seed: int = 1, **how: Any) -> Path:
        """An adapter whose second factor has numbers of this size."""
        import torch
        from peft import LoraConfig, OFTConfig, get_peft_model

        how = {"target_modules": ["q_proj", "down_proj"], **how}
        config = OFTConfig(r=0, **how) if "oft_block_size" in how else LoraConfig(r=4, **how)
        torch.manual_seed(seed)
        tuned = get_peft_model(self.load(), config)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name or "oft_R" in name:
                weight.data = torch.randn(weight.shape) * size
        path = self.folder / f"adapter-{size}-{seed}-{'-'.join(map(str, how.values()))}"
        tuned.save_pretrained(path)
        return path

    def merged(self, path: Path, *adapters: Path, spoilt: Callable[[Any], object] = id) -> Path:
        """As LLaMA-Factory merges; `spoilt` changes the adapter before."""
        from peft import PeftModel

        model = self.load()
        for adapter in adapters:
            model = PeftModel.from_pretrained(model, adapter)
            spoilt(model)
            model = model.merge_and_unload()
        model.to(self.load().dtype).save_pretrained(path)
        return path

    def prove(self, merged: Path, *adapters: Path) -> dict[str, Any]:
        return self.compared(merged, [str(adapter) for adapter in adapters])

    def compared(self, merged: Path, trained: Any) -> dict[str, Any]:
        from fine_tuning.engine.worker.merging.proof import prove

        source, loading = {"trust_remote_code": False}, {"dtype": self.dtype}
        return prove(str(self.base), source, trained, merged, loading, SEQUENCES)

    def whole(self, path: Path, size: float, dtype: str = "float32", **spoilt: float) -> Path:
        """A model that was trained without an adapter: each weight by about this much; `spoilt`
        names one to change further."""
        import torch

        model = self.load().float()
        torch.manual_seed(1)
        for name, weight in model.named_parameters():
            weight.data += torch.randn(weight.shape) * size
            weight.data += spoilt.get(name.split(".")[-2], 0.0)
        model.to(getattr(torch, dtype)).save_pretrained(path)
        return path


@pytest.fixture(scope="module", params=DTYPES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp(request.param)
    return Place(build_model(folder / "base", dtype=request.param), request.param)


def doubled(tuned: Any) -> None:
    for _, layer in tuned.named_modules():
        if hasattr(layer, "lora_A"):
            layer.scaling = {name: 2 * value for name, value in layer.scaling.items()}


def without_last_layer(tuned: Any) -> None:
    tuned.base_model.model.model.layers[1].mlp.down_proj.scaling["default"] = 0.0


@pytest.mark.parametrize("size", SIZES)
def test_right_merges_pass_and_wrong_ones_do_not(place: Place, size: float, tmp_path: Path) -> None:
    """A good merge into bfloat16 after a short dpo was refused."""
    adapter, other = place.adapter(size), place.adapter(size, seed=2)
    proof = place.prove(place.merged(tmp_path / "good", adapter), adapter)
    assert proof["proved"] is True and proof["agreement"] == 1.0
    if place.dtype == "float32":
        assert proof["kept"] == pytest.approx(1.0, abs=1e-3)
        assert proof["mean_logit_difference"] < proof["moved_by_training"]
    for name, wrong in (
        ("other", place.merged(tmp_path / "other", other)),
        ("scale", place.merged(tmp_path / "scale", adapter, spoilt=doubled)),
        ("layer", place.merged(tmp_path / "layer", adapter, spoilt=without_last_layer)),
        ("base", place.base),
    ):
        with pytest.raises(EngineError, match=r"is not base \+ adapter: .* numbers of model"):
            pytest.fail(f"{name}: {place.prove(wrong, adapter)}")


def test_what_a_coarse_format_does_not_hold_is_said(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    from fine_tuning.report.told.proof import is_whole, proof_text
    from fine_tuning.values.results import Proof

    coarse = Place(
        build_model(tmp_path_factory.mktemp("coarse") / "base", dtype="bfloat16"), "bfloat16"
    )
    adapter = coarse.adapter(1e-6)
    kept = coarse.prove(coarse.merged(tmp_path / "good", adapter), adapter)["kept"]
    assert 0 <= kept < 0.1
    assert not is_whole(Proof(proved=True, kept=kept))
    assert "Serve base and adapter unmerged" in proof_text(Proof(proved=True, kept=kept))


@pytest.mark.parametrize("how", [{"use_dora": True}, {"use_rslora": True}, {"oft_block_size": 8}])
def test_other_kinds_of_adapters_are_proved(
    place: Place, how: dict[str, Any], tmp_path: Path
) -> None:
    adapter = place.adapter(2e-2, **how)
    assert place.prove(place.merged(tmp_path / "good", adapter), adapter)["proved"] is True


def test_adapters_that_were_merged_one_after_the_other_are_proved(
    place: Place, tmp_path: Path
) -> None:
    first, second = place.adapter(2e-2), place.adapter(2e-2, seed=2)
    both = place.merged(tmp_path / "both", first, second)
    assert place.prove(both, first, second)["proved"] is True
    with pytest.raises(EngineError, match=r"is not base \+ adapter"):
        place.prove(both, second)


def test_a_stale_weight_that_no_adapter_touches_is_found(place: Place, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = place.adapter(2e-2)
    file = place.merged(tmp_path / "stale", adapter) / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"][3] += 1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"1 of 64 numbers of model\.norm\.weight"):
        place.prove(file.parent, adapter)


def test_an_adapted_head_that_is_the_embedding_too_is_no_merge(
    place: Place, tmp_path: Path
) -> None:
    """The merge changed the embeddings as well, and was called proved."""
    adapter = place.adapter(2e-2, target_modules=["lm_head"])
    with pytest.raises(EngineError, match=r"numbers of model\.embed_tokens\.weight"):
        place.prove(place.merged(tmp_path / "both", adapter), adapter)


def test_a_merge_of_nan_is_not_compared(place: Place, tmp_path: Path) -> None:
    """NaN differs from nothing: the comparison passed."""
    adapter = place.adapter(float("nan"))
    with pytest.raises(EngineError, match="logits that are not finite"):
        place.prove(place.merged(tmp_path / "nan", adapter), adapter)


def test_a_merge_into_a_grown_vocabulary_is_proved(tiny_model: Path, tmp_path: Path) -> None:
    """--add_tokens failed after training and merging: the base was compared as it was before."""
    import torch
    from peft import LoraConfig, get_peft_model

    place = Place(tiny_model, "float32")
    model = place.load()
    rows = model.get_input_embeddings().weight.shape[0] + 64
    model.resize_token_embeddings(rows)
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    tuned = get_peft_model(model, config)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    tuned.save_pretrained(tmp_path / "adapter")
    tuned.merge_and_unload().save_pretrained(tmp_path / "merged")
    assert place.prove(tmp_path / "merged", tmp_path / "adapter")["proved"] is True


def test_a_model_of_an_unknown_class_is_not_proved_and_says_why(
    tiny_model: Path, tmp_path: Path
) -> None:
    """It was reported like a proved one."""
    shutil.copytree(tiny_model, tmp_path / "clip")
    (tmp_path / "clip" / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")
    proof = Place(tmp_path / "clip", "float32").prove(tmp_path / "clip", tmp_path)
    assert proof["proved"] is False
    assert "cannot be loaded by itself" in proof["reason"]
    assert len(proof["reason"]) < 300 and not proof["reason"].endswith(".")


def test_a_model_that_was_trained_whole_is_proved_in_its_own_precision(
    place: Place, tmp_path: Path
) -> None:
    """Full and freeze trainings were "not compared": another model would have been shipped."""
    trained = place.whole(tmp_path / "trained", 1e-3)
    good = place.whole(tmp_path / "good", 1e-3, place.dtype)
    proof = place.compared(good, str(trained))
    assert (proof["proved"], proof["against"]) == (True, "the trained checkpoint")
    assert proof["kept"] > 0.8 and proof["moved_by_training"] > 0
    for wrong in (
        place.base,
        place.whole(tmp_path / "norm", 1e-3, place.dtype, norm=0.1),
        place.whole(tmp_path / "more", 1.5e-3, place.dtype),
    ):
        with pytest.raises(EngineError, match=r"is not the trained checkpoint: .* numbers of"):
            pytest.fail(f"{wrong}: {place.compared(wrong, str(trained))}")


def test_a_merge_that_changed_nothing_fails(place: Place, tmp_path: Path) -> None:
    """It was proved: base + adapter that adds nothing answers like the base, of course."""
    fresh = place.adapter(0.0)
    with pytest.raises(EngineError, match=r"changed nothing: base \+ adapter answers exactly like"):
        place.prove(place.merged(tmp_path / "fresh", fresh), fresh)
    same = place.whole(tmp_path / "same", 0.0)
    with pytest.raises(EngineError, match="changed nothing: the trained checkpoint answers"):
        place.compared(place.base, str(same))


def test_a_training_that_one_rounding_takes_away_is_no_merge(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    coarse = Place(
        build_model(tmp_path_factory.mktemp("coarse") / "base", dtype="bfloat16"), "bfloat16"
    )
    model = coarse.load()
    for weight in model.parameters():
        weight.data = weight.data.sign() * 0.02  # none so small that it holds more
    model.save_pretrained(coarse.base)
    tiny = coarse.adapter(1e-6)
    with pytest.raises(EngineError, match="every weight is the base model's") as caught:
        coarse.prove(coarse.merged(tmp_path / "tiny", tiny), tiny)
    assert "one rounding of bfloat16" in caught.value.why
