"""What is advised after running out of memory would help, and is not set already."""

from typing import Any

import pytest

from fine_tuning.engine.plan.memory.advice import advised, changes
from fine_tuning.errors import OutOfMemory
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import CPU, GPU, LOOK_7B, plan


def advice(devices: dict[str, Any], **wishes: Any) -> tuple[str, ...]:
    spec = RunSpec(**wishes)
    made = plan(spec, devices=devices).plan
    return changes(spec, made.chosen, "sft", LOOK_7B.model)


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        (
            {"batch_size": 8},
            ("--batch_size 4", "--quantization 4bit", "--max_seq_length 768"),
        ),
        ({"batch_size": 1}, ("--quantization 4bit", "--max_seq_length 768")),
        ({"batch_size": 1, "quantization": "4bit"}, ("--max_seq_length 768",)),
        (
            {"batch_size": 1, "method": "full"},
            ("--optim adamw_8bit", "--method lora", "--max_seq_length 768"),
        ),
    ],
)
def test_only_what_would_help_is_named(wishes: dict[str, Any], named: tuple[str, ...]) -> None:
    """ "--batch_size 1" was advised where the batch size was 1."""
    assert advice(GPU, **wishes) == named


def test_the_advice_comes_before_the_log_and_speaks_of_the_gpu_only_where_there_is_one() -> None:
    error = OutOfMemory("The machine ran out of memory.", fix="try it", after_fix="\n  log:  /l")
    for devices in (GPU, CPU):
        spec = RunSpec(batch_size=1, quantization="4bit")
        chosen = plan(spec, devices=devices).plan.chosen
        said = advised(error, spec, chosen, "sft", LOOK_7B.model)
        assert ("nvidia-smi" in said.fix) == (devices is GPU)
        assert said.fix.endswith("add --max_seq_length 768\n  log:  /l")
