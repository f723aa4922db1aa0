"""A model for which there is too little memory is merged by shards, to the very same files."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.disk import hashes
from fine_tuning.errors import EngineError, UsageError
from tests.models import build_mixture, build_model
from tests.trainings import Heard

pytestmark = pytest.mark.engine

LAYERS = {"target_modules": ["q_proj", "down_proj"]}
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, **LAYERS}),
    "rslora": ("LoraConfig", {"r": 4, "use_rslora": True, **LAYERS}),
    "dora": ("LoraConfig", {"r": 4, "use_dora": True, **LAYERS}),
    "modules": ("LoraConfig", {"r": 4, "modules_to_save": ["embed_tokens", "lm_head"], **LAYERS}),
    "adalora": ("AdaLoraConfig", {"total_step": 10, **LAYERS}),
    "oft": ("OFTConfig", {"r": 0, "oft_block_size": 8, **LAYERS}),
    "ia3": ("IA3Config", {**LAYERS, "feedforward_modules": ["down_proj"]}),
    "vera": ("VeraConfig", {"r": 8, "target_modules": ["q_proj"]}),
    "ln_tuning": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In bfloat16, cut into several files."""
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("models") / "base"
    build_model(path, tied=False, dtype="bfloat16")
    AutoModelForCausalLM.from_pretrained(path).save_pretrained(path, max_shard_size="60KB")
    (path / "model.safetensors").unlink()
    assert len(list(path.glob("model-*.safetensors"))) > 2
    return path


def trained(base: Path, path: Path, kind: str, how: Mapping[str, Any]) -> Path:
    """An adapter whose every number has moved."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = peft.get_peft_model(model, getattr(peft, kind)(**how))
    for weight in tuned.parameters():
        if weight.requires_grad:
            weight.data += (torch.randn(weight.shape) * 0.05).to(weight.dtype)
    tuned.save_pretrained(path)
    return path


def merged(base: Path, out: Path, *adapters: Path, merge_in: str, **how: Any) -> dict[str, Any]:
    from fine_tuning.engine.worker.merging.merge import merge

    heard = Heard()
    found = merge(
        events=heard.events,
        settings={
            "model_name_or_path": str(base),
            "adapter_name_or_path": ",".join(map(str, adapters)),
            "template": "empty",
            "export_size": 5,
            "finetuning_type": "lora",
            **how,
        },
        base=str(base),
        partial_dir=str(out),
        probe_rows=None,
        chat_template=None,
        merge_in=merge_in,
    )
    notes = [event["text"] for event in heard.of("note")]
    return {**found, "files": hashes.of_files(out), "notes": notes}


QUICK = ("dora", "modules")
BOTH = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in METHODS]


@pytest.mark.parametrize("method", BOTH)
def test_the_files_and_the_proof_are_those_of_the_merge_in_memory(
    base: Path, method: str, tmp_path: Path
) -> None:
    adapter = trained(base, tmp_path / "adapter", *METHODS[method])
    whole = merged(base, tmp_path / "whole", adapter, merge_in="memory")
    shards = merged(base, tmp_path / "shards", adapter, merge_in="shards")
    assert (whole["by_shards"], shards["by_shards"]) == (False, True)
    assert whole["files"] == shards["files"]
    assert whole["proof"] == shards["proof"] and shards["proof"]["proved"] is True


def test_short_memory_alone_makes_it_so_and_adapters_stand_one_upon_the_other(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.merging.shards import choose

    both = [trained(base, tmp_path / name, *METHODS[name]) for name in ("lora", "oft")]
    whole = merged(base, tmp_path / "whole", *both, merge_in="auto")
    monkeypatch.setattr(choose, "free_memory", lambda: 10**9)
    shards = merged(base, tmp_path / "shards", *both, merge_in="auto")
    assert whole["by_shards"] is False and whole["notes"] == []
    assert shards["notes"][0].startswith("The model is merged a shard at a time: merging in memory")
    assert shards["notes"][1].startswith("Shards are of 1 GB instead of 5 (--export_size)")
    assert whole["files"] == shards["files"]


@pytest.mark.parametrize(("free", "size"), [(11, 5), (8, 3), (2, 1)])
def test_shards_are_no_larger_than_the_memory_holds_two_of(
    free: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.merging.shards import choose

    monkeypatch.setattr(choose, "free_memory", lambda: free * 10**9)
    heard = Heard()
    assert choose.fitting_size(5, heard.events) == size
    assert choose.fitting_size(1, heard.events) == 1


def test_a_file_that_was_spoilt_is_found_without_loading_the_model(
    base: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from fine_tuning.engine.worker.merging.proof import prove
    from fine_tuning.engine.worker.merging.shards.export import on_disk

    adapter = trained(base, tmp_path / "adapter", *METHODS["lora"])
    merged(base, tmp_path / "merged", adapter, merge_in="shards")
    source = {"trust_remote_code": False}
    for name in ("model.layers.1.self_attn.q_proj.weight", "model.norm.weight"):
        shutil.copytree(tmp_path / "merged", tmp_path / name)
        file = tmp_path / name / "model.safetensors"
        weights = load_file(file)
        weights[name].flatten()[3] += 1
        save_file(weights, file, metadata={"format": "pt"})
        loading = {"dtype": torch.bfloat16, **on_disk(str(base), source)}
        proving = (str(base), source, [str(adapter)], tmp_path / name, loading, [[5, 6, 7]])
        with pytest.raises(EngineError, match=rf"1 of [\d,]+ numbers of {name} are none"):
            prove(*proving, by_shards=True)


def test_what_cannot_be_merged_by_shards_says_why(
    base: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from fine_tuning.engine.worker.merging.shards.choose import needs_whole

    def reason(model: Path, how: Mapping[str, Any], **settings: Any) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        return needs_whole(
            str(model),
            {"trust_remote_code": False},
            settings,
            [str(trained(model, path, "LoraConfig", {"r": 4, **how}))],
        )

    assert reason(base, {"target_modules": ["q_proj"]}) == ""
    assert "in two places" in reason(tiny_model, {**LAYERS, "modules_to_save": ["lm_head"]})
    assert "brings weights" in reason(base, {"target_modules": ["embed_tokens"]})
    assert "begins as pissa" in reason(base, {**LAYERS, "init_lora_weights": "pissa"})
    assert "vocabulary" in reason(base, LAYERS, add_tokens="<x>")
    mixture = build_mixture(tmp_path / "mixture")
    assert "otherwise than its files" in reason(mixture, {"target_modules": ["q_proj"]})
    with pytest.raises(UsageError, match=r"--merge_in shards: the model was trained without"):
        merged(base, tmp_path / "no", merge_in="shards")
