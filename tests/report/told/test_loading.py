import ast
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.report.facts.page import RunFacts
from fine_tuning.report.told.loading import snippets

_MADE = RunFacts(
    base_model="/models/it's a 模型",
    adapter_path=Path("runs/a b"),
    merged_path=Path("merged"),
    template="qwen3_nothink",
    train_yaml=Path("runs/a b/train.yaml"),
)


def test_the_python_snippets_are_python_with_the_paths_of_the_run() -> None:
    python = [snippet.code for snippet in snippets(_MADE) if snippet.language == "python"]
    assert len(python) == 2
    for code in python:
        strings = [n.value for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Constant)]
        assert "merged" in strings or {"runs/a b", "/models/it's a 模型"} <= set(strings)


def test_the_commands_survive_spaces_and_quotes() -> None:
    chat, train = (s.code for s in snippets(_MADE) if s.language == "shell")
    assert shlex.split(chat.replace("\\\n", " ")) == [
        "llamafactory-cli",
        "chat",
        "--model_name_or_path",
        "/models/it's a 模型",
        "--adapter_name_or_path",
        "runs/a b",
        "--template",
        "qwen3_nothink",
    ]
    assert shlex.split(train) == [
        "llamafactory-cli",
        "train",
        "runs/a b/train.yaml",
        "output_dir=NEW",
    ]


@pytest.mark.parametrize("called", ["python llama_factory_fine_tuning.py", "lfft"])
def test_a_chat_is_named_as_the_program_was_called(called: str) -> None:
    facts = replace(_MADE, command=f"{called} run --output_dir 'runs/a b'")
    first = snippets(facts)[0]
    assert first.code == f"{called} chat --output_dir 'runs/a b'"
    assert first.language == "shell"
    scores = replace(facts, reward_model=True)
    assert not [one for one in snippets(scores) if " chat " in one.code]


def test_a_text_model_is_not_asked_to_chat() -> None:
    text = RunFacts(merged_path=Path("merged"), chat=False)
    assert [s.language for s in snippets(text)] == ["python"]
    assert "apply_chat_template" not in snippets(text)[0].code


def test_nothing_made_nothing_to_load() -> None:
    assert snippets(RunFacts()) == ()


def test_a_prompt_is_asked_for_as_it_was_trained() -> None:
    facts = RunFacts(merged_path=Path("m"), encoded_ahead=True, switched_off=("enable_thinking",))
    (only,) = snippets(facts)  # LLaMA-Factory's chat would take another template
    ast.parse(only.code)
    assert "enable_thinking=False" in only.code
    assert "enable_thinking" not in snippets(RunFacts(merged_path=Path("m")))[0].code


def test_llama_factory_is_not_asked_to_merge_virtual_tokens() -> None:
    """Its chat merges every adapter first, and ended with an AttributeError."""
    shown = snippets(replace(_MADE, merged_path=None, virtual_tokens=True, train_yaml=None))
    assert [it.title for it in shown] == ["The adapter, with Transformers and PEFT"]
