"""GGUF files by llama.cpp's own programs, and what is refused of them."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from fine_tuning.errors import EngineError
from fine_tuning.ship import gguf
from fine_tuning.ship.llama_cpp.place import find
from tests.commands import ROOT
from tests.llama_cpp import needs_llama_cpp

DEMO = ROOT / "demo_model"
pytestmark = needs_llama_cpp


def test_one_other_token_in_another_script_refuses_the_file(
    demo_gguf: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    ids = tokenizer.encode(gguf.TEXT, add_special_tokens=False).ids
    gguf.compare_tokens(demo_gguf, {gguf.TEXT: ids}, None, tmp_path / "log")
    wrong = [*ids[:50], ids[50] + 1, *ids[51:]]
    with pytest.raises(EngineError, match="other tokens of the same text") as refused:
        gguf.compare_tokens(demo_gguf, {gguf.TEXT: wrong}, None, tmp_path / "log")
    assert f"from token 50 on [{ids[50]}, " in refused.value.why


def test_another_chat_template_than_the_trained_one_refuses_the_file(
    demo_gguf: Path, tmp_path: Path
) -> None:
    config = json.loads((DEMO / "tokenizer_config.json").read_text(encoding="utf-8"))
    trained = config["chat_template"]
    gguf.compare_tokens(demo_gguf, {}, trained, tmp_path / "log")
    with pytest.raises(EngineError, match="does not hold the chat template"):
        gguf.compare_tokens(demo_gguf, {}, trained.replace("system", "tool"), tmp_path / "log")


def test_a_tokenizer_that_llama_cpp_does_not_know_is_named(
    tiny_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "tiny.gguf"
    tools = find(None, quantizer=False)
    with pytest.raises(EngineError, match=r"did not write tiny\.gguf") as refused:
        gguf.convert(tools, tiny_model, target, "f16", "tiny", tmp_path / "log")
    assert "does not know how this tokenizer cuts text" in refused.value.why
    assert not target.exists()
