"""GGUF files by llama.cpp's own programs, and what is refused of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import to_builtins

from fine_tuning.engine.worker.tokens.texts import tokenizer_facts
from fine_tuning.errors import EngineError
from fine_tuning.ship import gguf
from fine_tuning.ship.conversations import CHATS
from fine_tuning.ship.llama_cpp.place import find
from fine_tuning.values.codec import from_json
from fine_tuning.values.results import TokenizerFacts
from tests.commands import ROOT
from tests.llama_cpp import needs_llama_cpp
from tests.trainings import Heard

DEMO = ROOT / "demo_model"
pytestmark = needs_llama_cpp


@pytest.fixture(scope="module")
def facts() -> TokenizerFacts:
    found = tokenizer_facts(
        events=Heard().events,
        model=str(DEMO),
        texts=[gguf.TEXT],
        chats=CHATS,
        trust_remote_code=False,
    )
    return from_json(to_builtins(found), TokenizerFacts)


def test_one_other_token_in_another_script_refuses_the_file(
    demo_gguf: Path, facts: TokenizerFacts, tmp_path: Path
) -> None:
    gguf.compare_tokens(demo_gguf, facts, tmp_path / "log")
    [ids] = facts.texts
    wrong = (*ids[:50], ids[50] + 1, *ids[51:])
    with pytest.raises(EngineError, match="other tokens of a text") as refused:
        gguf.compare_tokens(demo_gguf, replace(facts, texts=(wrong,)), tmp_path / "log")
    assert f"from token 50 on [{ids[50]}, " in refused.value.why


def test_another_chat_template_than_the_trained_one_refuses_the_file(
    demo_gguf: Path, facts: TokenizerFacts, tmp_path: Path
) -> None:
    assert facts.template is not None
    other = replace(facts, template=facts.template.replace("system", "tool"))
    with pytest.raises(EngineError, match="does not hold the chat template"):
        gguf.compare_tokens(demo_gguf, other, tmp_path / "log")


def test_a_prompt_that_is_rendered_otherwise_refuses_the_file(
    demo_gguf: Path, facts: TokenizerFacts, tmp_path: Path
) -> None:
    assert all(facts.prompts)
    cut = tuple(ids[:-1] if ids else None for ids in facts.prompts)
    with pytest.raises(EngineError, match="of the conversation that ends"):
        gguf.compare_tokens(demo_gguf, replace(facts, prompts=cut), tmp_path / "log")


def test_a_model_that_sees_is_said_to_be_written_without_its_eyes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vision_config": {"depth": 1}}', encoding="utf-8")
    note = gguf.left_behind(tmp_path)
    assert "takes pictures is not in it" in note and "BASE --mmproj" in note
    assert gguf.left_behind(DEMO) == ""


def test_a_tokenizer_that_llama_cpp_does_not_know_is_named(
    tiny_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "tiny.gguf"
    tools = find(None, quantizer=False)
    with pytest.raises(EngineError, match=r"did not write tiny\.gguf") as refused:
        gguf.convert(tools, tiny_model, target, "f16", "tiny", tmp_path / "log")
    assert "does not know how this tokenizer cuts text" in refused.value.why
    assert not target.exists()
