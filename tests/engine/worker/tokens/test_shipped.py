"""The chat template that goes out renders what was trained, or the model keeps its own."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.values.tokens import TemplateLook
from tests.engine.worker.tokens.looking import ROWS, WITH_TOOLS, tokenizer_of
from tests.models import build_model

pytestmark = pytest.mark.engine

TOOLS_TOO = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>\n{% endif %}"
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


def shipping_of(path: Path, name: str | None, rows: list[dict[str, Any]]) -> TemplateLook:
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments

    from fine_tuning.engine.worker.tokens.shipped import own_template, shipping
    from fine_tuning.engine.worker.tokens.template import TemplateChoice

    tokenizer = tokenizer_of(path)
    own = own_template(tokenizer)
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))
    choice = TemplateChoice(name, "", "differs", None, True)
    return shipping(choice, template, tokenizer, own, rows)


def test_a_written_template_that_renders_as_trained_is_shipped(tiny_model: Path) -> None:
    found = shipping_of(tiny_model, "alpaca", ROWS)
    assert found.shipped is True
    assert found.jinja is not None
    assert "### Instruction:" in found.jinja


def test_a_model_that_can_call_tools_keeps_its_template(tmp_path: Path) -> None:
    """LLaMA-Factory's written template renders neither tools nor calls."""
    path = build_model(tmp_path, chat_template=TOOLS_TOO)
    found = shipping_of(path, "chatml", [*ROWS, WITH_TOOLS[2]])
    assert found.shipped is False
    assert (found.jinja, found.own) == (None, TOOLS_TOO)
    assert found.unwritten is not None
    assert "leaves out tools and tool calls" in found.unwritten


def test_a_template_that_cannot_be_written_is_not_said_to_be_shipped(tiny_model: Path) -> None:
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.tokens.shipped import shipping
    from fine_tuning.engine.worker.tokens.template import TemplateChoice

    choice = TemplateChoice("chatglm3", "", "differs", None, True)
    found = shipping(choice, TEMPLATES["chatglm3"], tokenizer_of(tiny_model), "own", ROWS)
    assert found.shipped is False
    assert found.unwritten == "LLaMA-Factory cannot write it as one"


def test_a_tool_row_after_the_first_rows_is_compared_too(tmp_path: Path) -> None:
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.tokens.rendering import row_shape, watched
    from fine_tuning.engine.worker.tokens.shipped import confirmed
    from fine_tuning.engine.worker.tokens.template import choose_template

    tokenizer = tokenizer_of(build_model(tmp_path))
    choice = choose_template("auto", tokenizer, "x", "llama", ROWS, {})
    assert choice.parity == "equal"
    seen: dict[Any, Any] = {}
    late = [*ROWS * 3, WITH_TOOLS[2]]
    assert list(watched(late, seen)) == late
    assert row_shape(WITH_TOOLS[2]) in seen
    template = TEMPLATES[choice.name or ""]
    own = tokenizer.chat_template
    found = confirmed(choice, template, tokenizer, own, list(seen.values()))
    assert found.parity == "differs"


def test_reasoning_before_a_tool_call_can_be_compared() -> None:
    from fine_tuning.engine.worker.tokens.rendering import own_messages

    call = '<think>\nhm\n</think>\n\n[{"name": "a", "arguments": {"b": "</think>"}}]'
    turns = [{"from": "user", "value": "u"}, {"from": "function_call", "value": call}]
    messages = own_messages({"conversations": turns})
    assert messages[1]["content"] == "<think>\nhm\n</think>"
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == {"b": "</think>"}
