"""The template that is chosen renders real rows exactly as the model's own."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import ModelError
from tests.engine.worker.tokens.looking import ROWS, tokenizer_of
from tests.models import CHATML, build_model

pytestmark = pytest.mark.engine

LLAMA3 = (
    "{% for m in messages %}{% if loop.first %}<|begin_of_text|>{% endif %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
HOMEMADE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} <|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def choose(path: Path, asked: str = "auto", rows: list[dict[str, Any]] = ROWS) -> Any:
    from fine_tuning.engine.worker.tokens.template import choose_template

    return choose_template(asked, tokenizer_of(path), str(path), "llama", rows, {})


def test_a_registered_template_that_renders_alike_is_found(tiny_model: Path) -> None:
    choice = choose(tiny_model)
    assert choice.parity == "equal"
    assert "chatml" in (choice.name, *choice.others)


def test_the_found_template_makes_the_same_ids_as_the_own_one(tiny_model: Path) -> None:
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments

    from fine_tuning.engine.worker.tokens.rendering import engine_messages, own_messages

    name = choose(tiny_model).name
    own = tokenizer_of(tiny_model)
    fixed = tokenizer_of(tiny_model)
    template = get_template_and_fix_tokenizer(fixed, DataArguments(template=name))
    for row in ROWS:
        pairs = template.encode_multiturn(fixed, engine_messages(row), row["system"], "")
        ours = [token for prompt, response in pairs for token in [*prompt, *response]]
        text = own.apply_chat_template(own_messages(row), tokenize=False)
        assert ours == own.encode(text, add_special_tokens=False)


def test_the_model_s_own_template_is_read_if_no_registered_one_fits(tmp_path: Path) -> None:
    choice = choose(build_model(tmp_path, chat_template=HOMEMADE))
    assert choice.name is None
    assert "own chat template" in choice.reason


def test_a_named_template_that_differs_is_reported_token_by_token(tiny_model: Path) -> None:
    choice = choose(tiny_model, "alpaca")
    assert choice.parity == "differs"
    assert choice.difference.trained.startswith("Below is an instruction")
    assert choice.difference.served.startswith("<|im_start|>user")
    assert choice.difference.at == 0


def test_a_base_model_gets_the_plain_template_and_is_told(tmp_path: Path) -> None:
    choice = choose(build_model(tmp_path, chat_template=None))
    assert (choice.name, choice.parity) == ("default", "none")
    assert "no chat template" in choice.reason


def test_an_unknown_template_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="no template named 'chatlm'"):
        choose(tiny_model, "chatlm")


def test_a_template_that_grows_the_vocabulary_is_refused(tiny_model: Path) -> None:
    from fine_tuning.engine.worker.tokens.template import TemplateChoice
    from fine_tuning.engine.worker.tokens.ways import fixed_template

    choice = TemplateChoice("llama3", "", "differs", None, True)
    with pytest.raises(ModelError, match=r"would add \d+ tokens"):
        fixed_template(tokenizer_of(tiny_model), {"template": "llama3"}, choice)


def test_rows_without_reasoning_do_not_train_an_empty_think_block(tmp_path: Path) -> None:
    template = CHATML.replace(
        "<|im_start|>assistant\n{% endif %}",
        "<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
        "<think>\n\n</think>\n\n{% endif %}{% endif %}",
    )
    path = build_model(tmp_path, chat_template=template)
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.tokens.template import first_difference

    # The own template puts the empty block into the prompt; so must the trained one, masked.
    row = ROWS[1]
    difference = first_difference(TEMPLATES["qwen3"], tokenizer_of(path), [row], False)
    assert difference is None or difference.part == "whole"


def test_of_equal_templates_the_known_name_is_taken() -> None:
    """A model of the chatml form was said to have the template `yi`."""
    from fine_tuning.engine.worker.tokens.template import rank

    equal = ("smollm", "yi", "qwen3_nothink")
    assert min(equal, key=lambda name: rank(name, "llama", seeing=False)) == "qwen3_nothink"
    assert min(equal, key=lambda name: rank(name, "yi", seeing=False)) == "yi"
