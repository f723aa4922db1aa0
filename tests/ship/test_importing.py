"""Which directories of safetensors Ollama makes the trained model of."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.ship.ollama import importing
from fine_tuning.ship.ollama.importing import why_not
from tests.commands import ROOT

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model")
TOOLS = "{% if tools %}{{ tools }}{% endif %}{{ messages[0].content }}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The demo model without its weights: a Llama with a tokenizer of SentencePiece's kind."""
    for name in FILES:
        shutil.copy(ROOT / "demo_model" / name, tmp_path / name)
    return tmp_path


def change(path: Path, **values: Any) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | values), encoding="utf-8")


def test_a_llama_is_imported(model: Path) -> None:
    assert why_not(model) == ""
    change(model / "config.json", rope_theta=500000.0, rope_scaling={"rope_type": "llama3"})
    assert why_not(model) == "", "Llama 3.1 as it is published"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, "does not import Qwen3ForCausalLM"),
        ({"architectures": ["MistralForCausalLM"]}, "does not import MistralForCausalLM"),
        ({"architectures": None}, "does not import a model that does not name its kind"),
        ({"quantization_config": {"bits": 4}}, "stored quantised"),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, "the positions"),
        ({"architectures": ["Qwen2ForCausalLM"]}, "the positions"),
        ({"rope_theta": 1e4, "rope_scaling": {"type": "yarn"}}, r"scaling of positions \(yarn\)"),
        ({"attention_bias": True}, "neither biases nor heads"),
        ({"head_dim": 64}, "neither biases nor heads"),
    ],
)
def test_what_its_import_would_leave_out_is_named(
    changed: Mapping[str, Any], reason: str, model: Path
) -> None:
    change(model / "config.json", **changed)
    assert re.search(reason, why_not(model)), why_not(model)


def test_a_token_that_was_added_must_be_where_it_looks(model: Path) -> None:
    known = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    added = [*known["added_tokens"], {**known["added_tokens"][0], "id": 9999, "content": "<|new|>"}]
    change(model / "tokenizer.json", added_tokens=added)
    assert "<|new|> is none of them" in why_not(model)
    change(model / "added_tokens.json", **{"<|new|>": 9999})
    assert why_not(model) == ""


def test_a_way_of_cutting_text_that_it_does_not_know_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "tokenizer.model").unlink()
    assert "how its tokenizer cuts text" in why_not(model), (
        "it has no cuts, and is not of that kind"
    )
    part = {"type": "Split", "pattern": {"Regex": r"\p{L}+"}}
    change(model / "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": [part]})
    assert "how its tokenizer cuts text" in why_not(model)
    digest = hashlib.sha256(rb"\p{L}+").hexdigest()
    monkeypatch.setattr(importing, "CUTS", {digest: "mine"})
    assert why_not(model) == ""


def test_a_template_in_a_file_of_its_own_is_not_read(model: Path) -> None:
    (model / "chat_template.jinja").write_text(TOOLS, encoding="utf-8")
    assert "chat_template.jinja" in why_not(model)
    change(model / "tokenizer_config.json", chat_template=[{"name": "default", "template": TOOLS}])
    assert why_not(model) == ""
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    assert why_not(model) == "", "one of its own kind is written into the Modelfile"
