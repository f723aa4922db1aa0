"""GGUF files by llama.cpp's own programs, and what is refused of them."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import to_builtins

from fine_tuning.cli.screens.screen import PlainScreen
from fine_tuning.engine.worker.tokens.texts import tokenizer_facts
from fine_tuning.errors import EngineError
from fine_tuning.ship import gguf
from fine_tuning.ship.conversations import CHATS
from fine_tuning.ship.llama_cpp.place import find
from fine_tuning.stages.shipping.llama_cpp.gguf import Gguf
from fine_tuning.values.codec import from_json
from fine_tuning.values.results import TokenizerFacts
from fine_tuning.values.spec import RunSpec
from tests.commands import ROOT
from tests.contracts import HERE, QUIET, weights_of
from tests.llama_cpp import needs_llama_cpp
from tests.models import build_seeing_gemma
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


def test_a_model_that_sees_keeps_its_eyes_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Or it is said that they are lost: the converter wrote an empty file, without a word."""
    model, screen = build_seeing_gemma(tmp_path / "seeing"), io.StringIO()
    stage = Gguf(
        spec=RunSpec(),
        model=model,
        dtype="float32",
        trained="",
        types=("q8_0",),
        folder=tmp_path / "my files",
        title="seeing",
        worker=HERE,
        log=tmp_path / "log",
    )
    made = stage.do(PlainScreen(screen))
    file = tmp_path / "my files" / "seeing-mmproj.gguf"
    assert made.projector is not None and made.projector.path == file
    assert "39 tensors" in screen.getvalue() and "llama-server --model" in screen.getvalue()
    again = replace(stage, earlier=made.files, projector=made.projector)
    assert again.do(QUIET) == made
    with weights_of(model / "model.safetensors") as weights:
        for name in [it for it in weights if it.startswith(("vision", "multi_modal"))]:
            weights[f"model.{name}"] = weights.pop(name)
    file.unlink()
    lost = replace(again, projector=None).do(PlainScreen(screen))
    assert lost.projector is None and not file.exists()
    assert "the part of the model that takes pictures is not in it" in screen.getvalue()


def test_a_tokenizer_that_llama_cpp_does_not_know_is_named(
    tiny_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "tiny.gguf"
    tools = find(None, quantizer=False)
    with pytest.raises(EngineError, match=r"did not write tiny\.gguf") as refused:
        gguf.convert(tools, tiny_model, target, "f16", "tiny", tmp_path / "log")
    assert "does not know how this tokenizer cuts text" in refused.value.why
    assert not target.exists()
