"""A merged model keeps the files of its base as they were published: Transformers 4 loads them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import adapter
from tests.models import as_published, build_model
from tests.trainings import Heard
from tests.transformers_4 import asked_of_4, needs_transformers_4

pytestmark = pytest.mark.engine

IDS = list(range(5, 60))
# Prints logits and ids as JSON, by whichever Transformers is found first.
ASK = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer.apply_chat_template([{"role": "user", "content": "Paris 你好"}], return_dict=False)
print(json.dumps([model(torch.tensor([json.loads(sys.argv[2])])).logits[0].tolist(), ids]))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model whose files Transformers 4 has written, with positions of its own."""
    return as_published(build_model(tmp_path_factory.mktemp("models") / "published", tied=False))


def merged(base: Path, place: Path, **how: Any) -> Path:
    from fine_tuning.engine.worker.merging.merge import merge

    trained = adapter(base, place / "adapter", seed=1, **how)
    settings = {"model_name_or_path": str(base), "template": "empty", "finetuning_type": "lora"}
    found = merge(
        events=Heard().events,
        settings={**settings, "adapter_name_or_path": str(trained)},
        base=str(base),
        partial_dir=str(place / "merged"),
        probe_rows=None,
        chat_template=None,
    )
    assert found["proof"]["proved"] is True
    return place / "merged"


@pytest.fixture(scope="module")
def model(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merged(published, tmp_path_factory.mktemp("place"))


def test_the_configuration_is_that_of_the_base_in_its_own_words(
    published: Path, model: Path
) -> None:
    """`rope_parameters` alone: Transformers 4 took the default positions, in silence."""
    found, wanted = (
        json.loads((place / "config.json").read_text(encoding="utf-8"))
        for place in (model, published)
    )
    assert found == wanted
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (model / name).read_bytes() == (published / name).read_bytes()


def test_what_the_training_changed_is_in_the_configuration(tmp_path: Path) -> None:
    base = build_model(tmp_path / "tied")
    out = merged(base, tmp_path, modules_to_save=["lm_head"])
    found, wanted = (
        json.loads((place / "config.json").read_text(encoding="utf-8")) for place in (out, base)
    )
    assert found == {**wanted, "tie_word_embeddings": False}


def test_weights_have_the_names_that_servers_look_for(vision_model: Path, tmp_path: Path) -> None:
    """`visual.` became `model.visual.`, of which llama.cpp wrote a file without tensors."""
    from safetensors.torch import load_file, save_file

    base = shutil.copytree(vision_model, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    older = {name.replace("model.visual.", "visual."): it for name, it in weights.items()}
    save_file(older, base / "model.safetensors", metadata={"format": "pt"})
    out = merged(base, tmp_path)
    assert load_file(out / "model.safetensors").keys() == older.keys() != weights.keys()


@pytest.mark.slow
@needs_transformers_4
def test_transformers_4_answers_as_5_does(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logits, ids = asked_of_4(ASK, str(model), json.dumps(IDS))
    here = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([IDS])).logits[0]
    assert torch.allclose(torch.tensor(logits), here, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(model)
    messages = [{"role": "user", "content": "Paris 你好"}]
    assert ids == tokenizer.apply_chat_template(messages, return_dict=False)
