"""The look at the tokens sees every row."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine.requests import model_arguments
from fine_tuning.errors import DataError
from fine_tuning.values.spec import RunSpec
from tests.engine.worker.served.families import row
from tests.engine.worker.tokens.looking import look, tokenizer_of

pytestmark = pytest.mark.engine


PLAIN = row(("user", "Hello"), ("assistant", "Hi"))
REASONED = row(("user", "Hello"), ("assistant", "<think>\nhm\n</think>\n\nHi"))


def test_reasoning_that_begins_after_2000_rows_is_not_deleted(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [*[PLAIN] * 2_001, REASONED]
    found = look(tmp_path, tiny_model, rows, template="qwen3", show=["#2001"])
    assert found.template.enable_thinking is None
    assert "hm" in "".join(text for text, trained in found.views[0].spans if trained)
    with pytest.raises(DataError, match="would delete the <think> blocks"):
        look(tmp_path, tiny_model, rows, template="qwen3", data_args={"enable_thinking": False})


def test_reasoning_is_known_by_the_words_of_the_template() -> None:
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.tokens.template import thinking_in, thought_mark

    other = row(("user", "a"), ("assistant", "<seed:think>hm</seed:think>b"))
    found = thinking_in([PLAIN, other])
    assert found[thought_mark(TEMPLATES["seed_oss"])] is None
    assert found[thought_mark(TEMPLATES["qwen3"])] is False


def test_rows_with_and_without_reasoning_render_as_a_reasoning_model_s_own_template(
    tmp_path: Path,
) -> None:
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.tokens.template import first_difference
    from tests.models import CHATML, build_model

    own = CHATML.replace(
        "<|im_start|>assistant\n{% endif %}",
        "<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
        "<think>\n\n</think>\n\n{% endif %}{% endif %}",
    )
    tokenizer = tokenizer_of(build_model(tmp_path, chat_template=own))
    assert first_difference(TEMPLATES["qwen3"], tokenizer, [REASONED], None) is None
    difference = first_difference(TEMPLATES["qwen3"], tokenizer, [PLAIN], None)
    assert difference is None or difference.part == "whole"


def text(value: str) -> dict[str, Any]:
    return row(("user", value), ("assistant", ""))


def test_documents_that_are_not_packed_are_not_cut_unseen(tiny_model: Path, tmp_path: Path) -> None:
    """One short document is enough, the cutoff holds the longest, and what it cannot is named."""
    short = look(tmp_path, tiny_model, [text("Hello")], kind="text", packing=False)
    assert (short.cutoff, short.overlong) == (64, {})
    rows = [text("capital " * 70), text("x1 " * 900), text("Hello")]
    found = look(tmp_path, tiny_model, rows, kind="text", packing=False)
    assert found.cutoff == found.context == 512
    assert list(found.overlong) == [1]
    packed = look(tmp_path, tiny_model, rows, kind="text")
    assert (packed.cutoff, packed.overlong) == (128, {})


GOOD, BAD = ({"from": "assistant", "value": value} for value in ("A long good answer", "No"))


@pytest.mark.parametrize("name", ["bailing", "chatml", "qwen3"])
@pytest.mark.parametrize("kind", ["preference", "kto"])
def test_only_the_last_answer_of_a_compared_conversation_is_shown_as_trained(
    tiny_model: Path, tmp_path: Path, name: str, kind: str
) -> None:
    """As LLaMA-Factory's pairwise and feedback processors train it, reasoning of before removed."""
    before = row(("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nfirst"), ("user", "b"))
    if kind == "preference":
        one = {**before, "chosen": GOOD, "rejected": BAD}
    else:
        one = {**before, "conversations": [*before["conversations"], GOOD], "label": False}
    found = look(tmp_path, tiny_model, [one], kind=kind, template=name, show=["1"])
    (view,) = found.views
    assert view.tokens == found.longest
    trained = "".join(text for text, learnt in view.spans if learnt)
    assert "good answer" in trained
    assert "first" not in trained
    assert view.stop_trained


def test_new_special_tokens_are_known_to_the_lengths(tiny_model: Path, tmp_path: Path) -> None:
    one = row(("user", "<new-mark>" * 20), ("assistant", "Hi"))
    known = tmp_path / "tokens.yaml"
    known.write_text('"<new-mark>": "a new mark"\n', encoding="utf-8")
    spec = RunSpec(engine_args={"new_special_tokens_config": str(known)})
    before = look(tmp_path, tiny_model, [one])
    after = look(tmp_path, tiny_model, [one], model_args=model_arguments(spec))
    assert after.vocabulary == before.vocabulary + 1
    assert after.tokens < before.tokens - 20


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
class MineConfig(LlamaConfig):
    model_type = "mine"
class MineModel(LlamaForCausalLM):
    config_class = MineConfig
"""


def test_a_trusted_model_with_code_of_its_own_is_not_asked_about_again(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoConfig

    from fine_tuning.engine.worker.tokens.model_facts import model_facts

    known = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    classes = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineModel"}
    config = {**known, "model_type": "mine", "auto_map": classes}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail("asked on stdin"))
    loaded = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    facts = model_facts(loaded, trust=True)
    assert facts is not None
    assert facts.layers == 2
