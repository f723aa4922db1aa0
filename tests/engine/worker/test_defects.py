"""Each defect of the pinned engine is still there: one that has gone fails here after an upgrade,
so that its row in fine_tuning/engine/defects.py, and what mends it, can go too."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.engine import defects
from fine_tuning.engine.defects import DEFECTS, Defect
from fine_tuning.errors import ModelError
from tests.models import build_model
from tests.trainings import planned, train_by_hand

pytestmark = pytest.mark.engine

STRIKES: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {}


def of(defect: Defect) -> Callable[[Any], Any]:
    def kept(strikes: Any) -> Any:
        STRIKES[defect.name] = strikes
        return strikes

    return kept


def arguments(**given: Any) -> Any:
    from llamafactory.hparams import ModelArguments

    return ModelArguments(**given)


def tuning(**given: Any) -> Any:
    from llamafactory.hparams import FinetuningArguments

    return FinetuningArguments(**given)


@of(defects.REPACKED_4BIT)
def repacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from bitsandbytes.nn import modules

    def repack(*weight: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(modules, "_convert_weight_packed_for_cpu", repack)
    layer = modules.Linear4bit(64, 64, compute_dtype=torch.float32).to("cpu")
    layer.train()(torch.ones(1, 64))
    with torch.no_grad(), pytest.raises(InterruptedError):
        layer.eval()(torch.ones(1, 64))


@of(defects.LOADED_AS_STORED)
def loaded_as_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from llamafactory.model import load_model, load_tokenizer

    base = build_model(folder / "half", dtype="bfloat16")
    model_args = arguments(model_name_or_path=str(base))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    freeze = tuning(finetuning_type="freeze", freeze_trainable_layers=1)
    model = load_model(tokenizer, model_args, freeze, is_trainable=True)
    assert {it.dtype for it in model.parameters()} == {torch.bfloat16, torch.float32}


@of(defects.OWN_CLASSES)
def own_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.model.model_utils.misc import register_autoclass
    from transformers import LlamaConfig

    monkeypatch.setattr(LlamaConfig, "_auto_class", None)  # and what it was, afterwards
    config = LlamaConfig(auto_map={"AutoConfig": "configuration_llama.LlamaConfig"})
    register_autoclass(config, None, SimpleNamespace(init_kwargs={}))
    assert LlamaConfig._auto_class == "AutoConfig", "registered as if its code lay with the model"


@of(defects.BARE_REFERENCE)
def bare_reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.train.trainer_utils import create_ref_model

    model_args = arguments(model_name_or_path="x", adapter_name_or_path="a")
    reference = create_ref_model(model_args, tuning(stage="dpo", finetuning_type="lora"))
    assert reference is None, "the adapter is switched off instead"


@of(defects.TIED_HEAD)
def tied_head(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(folder, build_model(folder / "tied"), "rm", "full", engine_args={"max_steps": 1})
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        train_by_hand(folder, plan)


@of(defects.STILL_TIED)
def still_tied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.train.tuner import export_model

    assert "tie_word_embeddings" not in inspect.getsource(export_model)


@of(defects.MOVED_BASE)
def moved_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    def moved(seed: int) -> Any:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 64))
        torch.manual_seed(seed)
        config = LoraConfig(target_modules=["0"], r=4, init_lora_weights="pissa_niter_1")
        return get_peft_model(model, config).base_model.model[0].base_layer.weight

    assert not torch.allclose(moved(1), moved(2), atol=1e-6)


@of(defects.FOREIGN_ROWS)
def foreign_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from llamafactory.model.model_utils.embedding import resize_embedding_layer
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    model = LlamaForCausalLM(config)
    before = model.get_input_embeddings().weight.clone()
    resize_embedding_layer(model, range(14))  # of which two are new
    assert torch.equal(model.get_input_embeddings().weight, before)


@of(defects.IGNORED_NEW_ADAPTER)
def refused_late(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.hparams.parser import _verify_model_args

    model_args = arguments(model_name_or_path="x", adapter_name_or_path="a", quantization_bit=4)
    with pytest.raises(ValueError, match="Cannot create new adapter upon a quantized model"):
        _verify_model_args(model_args, None, tuning(create_new_adapter=True))


def small_peft(folder: Path, config: Any) -> Any:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    return get_peft_model(AutoModelForCausalLM.from_pretrained(build_model(folder / "m")), config)


@of(defects.ADDED_LOSS)
def added_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers
    from peft import AdaLoraConfig

    config = AdaLoraConfig(task_type="CAUSAL_LM", total_step=9, target_modules=["q_proj"])
    tuned, ids = small_peft(folder, config).eval(), torch.tensor([[5, 6, 7]])
    alone = tuned.base_model.model(input_ids=ids, labels=ids).loss
    assert tuned(input_ids=ids, labels=ids).loss > alone
    assert "update_and_allocate" not in inspect.getsource(transformers.trainer)


@of(defects.VIRTUAL_LOGITS)
def virtual_logits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from peft import PromptTuningConfig

    tuned = small_peft(folder, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    assert tuned(input_ids=torch.tensor([[5, 6, 7]])).logits.shape[1] == 7


@of(defects.TOKENIZER_OF_ITS_CLASS)
def tokenizer_of_its_class(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.model import load_tokenizer

    from fine_tuning.engine.worker.loading.tokenizer import whole_tokenizer

    path = build_model(folder / "m")
    known = arguments(model_name_or_path=str(path))
    whole_tokenizer(known)
    config = json.loads((path / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "LlamaTokenizerFast"
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(known)["tokenizer"]
    assert tokenizer.decode(tokenizer.encode("Hello world")) == "Helloworld"
    with pytest.raises(ModelError, match="drops parts of a text") as caught:
        whole_tokenizer(known)
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in caught.value.fix
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    whole_tokenizer(known)


TRAINED = (defects.TIED_HEAD.name,)  # what it strikes is a whole training


@pytest.mark.parametrize(
    "name",
    [pytest.param(it.name, marks=[pytest.mark.slow] * (it.name in TRAINED)) for it in DEFECTS],
)
def test_a_defect_of_the_table_is_still_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    STRIKES[name](tmp_path, monkeypatch)
