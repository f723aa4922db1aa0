"""Methods that LLaMA-Factory does not know are refused by it, never trained as another."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.engine.trainers.train_yaml import train_yaml
from fine_tuning.errors import UsageError
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from tests.engine.plan.plans import plan

RANKED = ["lora_rank", "lora_alpha", "lora_target"]
OURS = [name for name, method in METHODS.items() if method.trainer == "peft"]


@pytest.mark.parametrize("method", OURS)
def test_the_yaml_says_that_it_does_not_work_by_hand(method: str) -> None:
    made = plan(RunSpec(method=method))
    text = train_yaml(made.plan, made.train, Path("/r/train.yaml"))
    first, body = text.split("\n", 1)
    assert first == "# not possible, LLaMA-Factory alone does not know this method"
    settings = yaml.safe_load(body)
    assert settings["finetuning_type"] == method
    ranked = METHODS[method].has_rank
    assert [name for name in settings if name.startswith("lora_")] == (RANKED if ranked else [])


@pytest.mark.engine
def test_llama_factory_takes_none_of_them_for_another_method() -> None:
    from llamafactory.hparams.finetuning_args import FinetuningArguments

    known = get_args(FinetuningArguments.__annotations__["finetuning_type"])
    assert not set(known) & set(OURS)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "p_tuning"])
def test_virtual_tokens_are_not_merged_and_that_is_said_before_the_training(method: str) -> None:
    with pytest.raises(UsageError, match="which no merged"):
        resolve(COMMANDS["run"], ["--method", method, "--export_dir", "m"])
    (warning,) = [text for text in plan(RunSpec(method=method)).warnings if method in text]
    assert "vLLM, llama.cpp and Ollama do not serve them" in warning
