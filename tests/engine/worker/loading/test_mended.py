"""What is loaded, trained and merged is the model that was asked for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import EngineError
from tests.models import build_model
from tests.trainings import Heard, planned, train_here, weights_of

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stored_in_16_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in bfloat16."""
    return build_model(tmp_path_factory.mktemp("models") / "bf16", dtype="bfloat16")


def merged(folder: Path, plan: Any, **settings: Any) -> dict[str, Any]:
    """The worker's merge of what the plan has trained."""
    from fine_tuning.engine.worker.merging.merge import merge

    base = str(plan.settings["model_name_or_path"])
    return merge(
        events=Heard().events,
        settings={"model_name_or_path": base, "template": plan.settings["template"], **settings},
        base=base,
        partial_dir=str(folder / "merged"),
        probe_rows=str(folder / "dataset" / "train.jsonl"),
        chat_template=None,
    )


@pytest.mark.parametrize(("method", "stage"), [("lora", "dpo"), ("freeze", "sft"), ("oft", "sft")])
def test_a_base_in_16_bits_trains_in_float32_where_the_plan_says_so(
    method: str,
    stage: str,
    stored_in_16_bits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stayed in bfloat16, and --method freeze died on it."""
    import torch

    from fine_tuning.engine.worker.training import train as training

    formats: set[torch.dtype] = set()

    def see(model: Any) -> None:
        formats.update(it.dtype for it in model.parameters())

    monkeypatch.setattr(training, "require_targets", see)
    more = {"freeze": {"freeze_trainable_layers": 1}, "oft": {"oft_block_size": 8, "oft_rank": 0}}
    plan = planned(tmp_path, stored_in_16_bits, stage, method, engine_args=more.get(method, {}))
    shown = {choice.name: choice.value for choice in plan.plan.choices}
    assert shown["precision"] == "fp32"
    train_here(tmp_path, plan)
    assert formats == {torch.float32}


def test_a_short_dpo_on_a_base_in_16_bits_merges(stored_in_16_bits: Path, tmp_path: Path) -> None:
    """The merge was refused: training had moved the logits by less than rounding does."""
    plan = planned(tmp_path, stored_in_16_bits, "dpo", learning_rate=5e-6)
    train_here(tmp_path, plan)
    made = merged(tmp_path, plan, adapter_name_or_path=str(tmp_path / "run"))
    assert made["dtype"] == "bfloat16" and made["proof"]["proved"] is True
    assert made["proof"]["kept"] < 0.9, "bfloat16 cannot hold so small a change"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_base_whose_auto_map_names_classes_of_transformers_trains_and_merges(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """FileNotFoundError at the first save."""
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    for name, classes in (
        ("config.json", {"AutoConfig": "configuration_x.C", "AutoModelForCausalLM": "x.M"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["tokenization_x.T", None]}),
    ):
        known = json.loads((base / name).read_text(encoding="utf-8"))
        (base / name).write_text(json.dumps({**known, "auto_map": classes}), encoding="utf-8")
    plan = planned(tmp_path, base, method=method)
    train_here(tmp_path, plan)
    assert weights_of(tmp_path / "run")
    tuned = {"lora": "adapter_name_or_path", "full": "model_name_or_path"}[method]
    made = merged(tmp_path, plan, **{tuned: str(tmp_path / "run")})
    assert made["proof"]["proved"] is True
    config = json.loads((tmp_path / "merged" / "config.json").read_text(encoding="utf-8"))
    assert "auto_map" not in config, "no files of such classes are beside it"


@pytest.mark.parametrize("method", ["full", "freeze"])
def test_a_reward_model_whose_head_is_its_embedding_is_saved(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """It died at the first save: "Some tensors share memory"."""
    more = {"freeze_trainable_layers": 1} if method == "freeze" else {}
    plan = planned(tmp_path, tiny_model, "rm", method, engine_args=more)
    train_here(tmp_path, plan)
    weights = weights_of(tmp_path / "run")
    assert "v_head.summary.weight" in weights and "model.embed_tokens.weight" in weights
    merged(tmp_path, plan, model_name_or_path=str(tmp_path / "run"), stage="rm")
    saved = weights_of(tmp_path / "merged")
    assert bool((saved["score.weight"] == weights["v_head.summary.weight"]).all())
    name = "model.embed_tokens.weight"
    assert bool((saved[name] == weights[name]).all())


def test_a_head_that_was_trained_apart_from_the_embeddings_is_not_called_tied(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Loaders that believed tie_word_embeddings dropped the head."""
    both = {"additional_target": "embed_tokens,lm_head"}
    plan = planned(tmp_path, tiny_model, engine_args=both)
    train_here(tmp_path, plan)
    made = merged(tmp_path, plan, adapter_name_or_path=str(tmp_path / "run"))
    assert made["proof"]["proved"] is True
    weights = weights_of(tmp_path / "merged")
    assert bool((weights["lm_head.weight"] != weights["model.embed_tokens.weight"]).any())
    config = json.loads((tmp_path / "merged" / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False


def test_a_head_that_is_the_embedding_is_not_adapted_alone(
    tiny_model: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, tiny_model, engine_args={"lora_target": "q_proj,lm_head"})
    with pytest.raises(EngineError, match="--lora_target lm_head cannot be adapted alone"):
        train_here(tmp_path, plan, scored=False)


def padded(path: Path, rows: int) -> Path:
    """A model whose embeddings have more rows than there are tokens; those are zero."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    build_model(path, tied=False)
    tokens = len(AutoTokenizer.from_pretrained(path))
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model.resize_token_embeddings(tokens + rows, mean_resizing=False)
    for end in (model.get_input_embeddings(), model.get_output_embeddings()):
        end.weight.data[tokens:] = 0
    model.save_pretrained(path)
    return path


@pytest.mark.parametrize("rows", [0, 1, 64])
def test_new_tokens_begin_in_rows_of_their_own(rows: int, tmp_path: Path) -> None:
    """Of embeddings that are padded, as Qwen's, LLaMA-Factory began other rows, or none."""
    from llamafactory.hparams.finetuning_args import FinetuningArguments
    from llamafactory.hparams.model_args import ModelArguments
    from llamafactory.model import load_model, load_tokenizer

    from fine_tuning.engine.worker.loading.mended import mended_loading

    path = padded(tmp_path / "m", rows) if rows else build_model(tmp_path / "m", tied=False)
    arguments = ModelArguments(model_name_or_path=str(path), add_tokens="<think_a>,<think_b>")
    with mended_loading(None):
        tokenizer = load_tokenizer(arguments)["tokenizer"]
        model = load_model(tokenizer, arguments, FinetuningArguments())
    new = tokenizer.convert_tokens_to_ids(["<think_a>", "<think_b>"])
    for end in (model.get_input_embeddings(), model.get_output_embeddings()):
        known, begun = end.weight[: min(new)], end.weight[new]
        noise = begun - known.mean(0)
        assert bool((begun != 0).any(1).all()) and float(noise.std()) == pytest.approx(1 / 8, 0.3)


def test_new_tokens_are_trained_and_merged(tmp_path: Path) -> None:
    model = padded(tmp_path / "m", 64)
    plan = planned(tmp_path, model, engine_args={"add_tokens": "<think_a>,<think_b>"})
    train_here(tmp_path, plan, scored=False)
    assert [name for name in weights_of(tmp_path / "run") if "embed_tokens" in name]
    result = merged(
        tmp_path,
        plan,
        adapter_name_or_path=str(tmp_path / "run"),
        finetuning_type="lora",
        add_tokens="<think_a>,<think_b>",
    )
    assert result["proof"]["proved"]
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tmp_path / "merged").encode("<think_a>")
    assert len(ids) == 1
