"""Tasks are handed to lm-evaluation-harness as it takes them; here a stand-in notes how."""

import json
import os
from pathlib import Path

import pytest

from fine_tuning.cli.eval import tasks
from fine_tuning.cli.eval.tasks import model_arguments, require_harness, task_lines, tasks_found
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.engine.process.chatting import SpokenModel, Voices, with_adapters
from fine_tuning.errors import EngineError, EnvironmentProblem, UsageError

STAND_IN = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--output_path") + 1]) / "model"
out.mkdir(parents=True)
if "no_such_task" in " ".join(words):
    sys.exit("ValueError: Tasks not found: no_such_task")
tuned = any(word.startswith("peft=") for word in words)
numbers = {"alias": "t", "acc,none": 0.75 if tuned else 0.5, "acc_stderr,none": 0.02}
numbers |= {"exact_match,strict": 1, "sample_len": 4}
(out / "results_1.json").write_text(json.dumps({"results": {"t": numbers}, "words": words}))
"""


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voices:
    package = tmp_path / "site" / "lm_eval"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(STAND_IN)
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", os.fspath(package.parent))
    monkeypatch.setattr(tasks, "find_spec", lambda name: name)
    adapter = tmp_path / "my adapter"
    adapter.mkdir()
    (adapter / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    settings = {"model_name_or_path": "a, b", "template": "empty", "quantization_bit": 4}
    return with_adapters(SpokenModel(settings=settings), {"tuned": str(adapter)})


def test_both_models_are_handed_over_and_their_numbers_stand_beside(
    voices: Voices, tmp_path: Path
) -> None:
    with open_screen() as screen:
        found = tasks_found(
            voices, ["t", "u"], tasks_dir=tmp_path, use_cpu=True, folder=tmp_path, screen=screen
        )
    assert [*task_lines(found)] == [
        "t acc: 0.5 -> 0.75 ± 0.02 (standard error)",
        "t exact_match (strict): 1 -> 1",
    ]
    (written,) = (tmp_path / "tasks-tuned").rglob("*.json")
    words = json.loads(written.read_text())["words"]
    place = words.index("--model_args") + 1
    adapter = tmp_path / "my adapter"
    assert words[place : place + 4] == [
        "pretrained=a, b",
        f"peft={adapter}",
        f"tokenizer={adapter}",
        "load_in_4bit=True",
    ]
    assert words[words.index("--tasks") + 1] == "t,u" and "--apply_chat_template" in words


def test_what_the_harness_says_is_passed_on(voices: Voices, tmp_path: Path) -> None:
    with open_screen() as screen, pytest.raises(EngineError) as caught:
        tasks_found(
            voices, ["no_such_task"], tasks_dir=None, use_cpu=True, folder=tmp_path, screen=screen
        )
    assert caught.value.why == "ValueError: Tasks not found: no_such_task"
    assert "tasks-base.log" in caught.value.fix


def test_without_the_harness_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    require_harness(())
    with pytest.raises(EnvironmentProblem, match="not installed") as caught:
        require_harness(["hellaswag"])
    assert "-m pip install lm_eval==" in caught.value.fix


def test_adapters_upon_each_other_are_to_be_merged_first() -> None:
    settings = {"model_name_or_path": "m", "adapter_name_or_path": "a"}
    with pytest.raises(UsageError, match="one upon the other"):
        model_arguments(SpokenModel(settings=settings, adapter="b"))
