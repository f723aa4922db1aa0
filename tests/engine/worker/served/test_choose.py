"""The engine encodes where it trains what is served, for every row; else rows go ahead."""

from pathlib import Path

import pytest

from fine_tuning.errors import DataError
from tests.engine.worker.served.families import FAMILIES, SHAPES, SPECIAL, row
from tests.engine.worker.tokens.looking import look
from tests.models import CHATML, build_model, train_tokenizer

pytestmark = pytest.mark.engine

PLAIN = row(("user", "Hello"), ("assistant", "Hi"))
# written otherwise in one row of many: only where a text begins with a space
SPACED = CHATML.replace(
    "{{ m['content'] }}",
    "{{ m['content'][1:] if m['content'].startswith('  x') else m['content'] }}",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model, and its copies with other chat templates and tokens."""
    folder = tmp_path_factory.mktemp("families")
    made = {"chatml": build_model(folder / "chatml"), "base": folder / "base"}
    build_model(folder / "base", chat_template=None)
    for name in ("qwen3", "gemma", "glm"):
        build_model(folder / name)
        tokenizer = train_tokenizer(SPECIAL, FAMILIES[name].eos)
        tokenizer.chat_template = FAMILIES[name].template
        tokenizer.bos_token = FAMILIES[name].bos
        tokenizer.save_pretrained(folder / name)
        made[name] = folder / name
    build_model(folder / "spaced", chat_template=SPACED)
    return made | {"spaced": folder / "spaced"}


def test_the_engine_encodes_where_it_makes_the_same_of_every_row(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    vocabularies: list[int] = []
    copied = PreTrainedTokenizerFast.get_vocab

    def counted(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
        vocabularies.append(1)
        found: dict[str, int] = copied(tokenizer)
        return found

    monkeypatch.setattr(PreTrainedTokenizerFast, "get_vocab", counted)
    found = look(tmp_path, models["chatml"], [PLAIN, SHAPES["turns"], SHAPES["edges"]])
    assert found.template.ahead is None
    assert found.template.name is not None
    assert "for all 3 rows" in found.template.reason
    assert found.sequences == found.rows == 3
    assert len(vocabularies) < 5  # which Gemma's takes a third of a second, for 120 templates


def test_one_row_that_differs_far_behind_is_enough_to_encode_ahead(
    models: dict[str, Path], tmp_path: Path
) -> None:
    rows = [*[PLAIN] * 40, row(("user", "  x"), ("assistant", "Hi")), PLAIN]
    assert look(tmp_path, models["spaced"], rows[:40]).template.ahead is None
    found = look(tmp_path, models["spaced"], rows, show=["#40"])
    assert found.template.ahead is not None
    assert found.views[0].spans[0][0].startswith("<|im_start|>user\n x<|im_end|>")


def test_history_that_is_rewritten_is_counted_and_said(
    models: dict[str, Path], tmp_path: Path
) -> None:
    rows = [SHAPES["reasoning"], PLAIN]
    found = look(tmp_path, models["qwen3"], rows, show=["#0"])
    assert (found.rows, found.sequences) == (2, 3)
    assert any("3 in all" in note for note in found.template.notes)
    assert any("enable_thinking=False" in note for note in found.template.notes)
    assert len(found.views) == 2
    assert all(view.stop_trained for view in found.views)
    last = look(tmp_path, models["qwen3"], rows, data_args={"mask_history": True})
    assert last.sequences == 2


def test_what_a_template_does_not_take_is_said(models: dict[str, Path], tmp_path: Path) -> None:
    found = look(tmp_path, models["gemma"], [SHAPES["system"], SHAPES["tools"]])
    notes = "\n".join(found.template.notes)
    assert "takes no system turn" in notes
    assert "takes no functions" in notes
    assert "takes no function calls" in notes


def test_a_base_model_is_trained_by_a_template_that_adds_no_tokens_and_ships(
    models: dict[str, Path], tmp_path: Path
) -> None:
    found = look(tmp_path, models["base"], [PLAIN, SHAPES["tools"]], show=["#0"])
    template = found.template
    assert template.ahead is not None
    assert template.jinja == template.ahead.chat_template
    assert (template.shipped, template.parity) == (True, "equal")
    assert found.views[0].spans == (("User: Hello\nAssistant:", False), (" Hi<|im_end|>", True))


def test_a_named_template_is_compared_over_all_rows(
    models: dict[str, Path], tmp_path: Path
) -> None:
    rows = [*[PLAIN] * 30, SHAPES["edges"], SHAPES["system"]]
    found = look(tmp_path, models["glm"], rows, template="qwen")
    assert found.template.parity == "differs"
    assert any("trains 32 of 32 rows on other token ids" in note for note in found.template.notes)
    same = look(tmp_path, models["chatml"], rows, template="chatml")
    assert (same.template.parity, same.template.notes) == ("equal", ())


def test_a_row_that_the_template_refuses_is_named(models: dict[str, Path], tmp_path: Path) -> None:
    rows = [PLAIN, row(("user", "a"), ("assistant", "refuse"), ("user", "b"), ("assistant", "c"))]
    refusing = tmp_path / "refusing"
    refuse = "{% if m['content'] == 'refuse' %}{{ raise_exception('not that') }}{% endif %}"
    build_model(refusing, chat_template=CHATML.replace("<|im_start|>", refuse + "<|im_start|>", 1))
    found = look(tmp_path, refusing, rows)
    assert found.unrendered == {1: "not that"}


def test_reasoning_is_not_deleted_by_a_word(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="would delete the <think> blocks"):
        look(
            *(tmp_path, models["qwen3"], [SHAPES["reasoning"]]),
            data_args={"enable_thinking": False},
        )


def test_rows_over_the_cutoff_keep_the_rounds_that_fit(
    models: dict[str, Path], tmp_path: Path
) -> None:
    whole = look(tmp_path, models["qwen3"], [SHAPES["turns"]], show=["#0"])
    tokens = [view.tokens for view in whole.views]
    assert len(tokens) == 3
    found = look(tmp_path, models["qwen3"], [SHAPES["turns"]], max_seq_length=tokens[1])
    assert found.overlong == {0: tuple(tokens)}


def test_a_reward_model_is_trained_by_the_engine_only_where_the_last_token_is_the_same(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """White space behind an answer is no difference, but a reward is read there."""
    compared = PLAIN | {"conversations": PLAIN["conversations"][:1]}
    compared |= dict.fromkeys(("chosen", "rejected"), PLAIN["conversations"][1])
    by_engine = look(tmp_path, models["chatml"], [compared], kind="preference", whole=True)
    assert by_engine.template.ahead is None
    ahead = look(tmp_path, models["base"], [compared], kind="preference", whole=True)
    assert ahead.template.ahead is not None and ahead.template.ahead.whole
    assert (
        ahead.longest == look(tmp_path, models["base"], [compared], kind="preference").longest + 1
    )
