"""`export` merges finished runs, and adapters that were trained elsewhere."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.export import require_source, without_gpu
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.engine.environment import environment
from fine_tuning.errors import UsageError
from fine_tuning.run.settling import settle
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import RunSpec


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no run"),
        ({"adapter_config": "{}"}, "holds an adapter, but no run.json"),
    ],
)
def test_what_is_no_run_is_refused_with_the_way_on(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        require_source(RunSpec(output_dir=tmp_path, export_dir=tmp_path / "m"))
    assert caught.value.fix


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({}, "--output_dir is needed"),
        ({"engine_args": {"adapter_name_or_path": "a"}}, "--export_dir is needed"),
        ({"output_dir": Path("r"), "model_name_or_path": "m"}, "knows its base model"),
        (
            {"output_dir": Path("r"), "engine_args": {"adapter_name_or_path": "a"}},
            "knows its base model",
        ),
    ],
)
def test_it_must_be_clear_what_is_merged_and_where_to(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        require_source(RunSpec(**wishes))


def test_a_run_of_a_gpu_is_merged_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """--use_cpu was refused, because the run was trained without it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    words = "--output_dir out --export_dir merged --use_cpu"
    job = without_gpu(resolve(COMMANDS["export"], words.split()))
    trained = RunRecord(created=0.0, command="", settings=RunSpec(), begun={})
    spec = settle(job.spec, frozenset(job.sources), replace(trained, begun={"epochs": 1}))
    assert spec.use_cpu is False, "it would be recorded as a setting of the training"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(spec).get("CUDA_VISIBLE_DEVICES", "") == ""


@pytest.mark.parametrize("flag", ["--template qwen", "--lora_rank 4"])
def test_flags_that_could_only_repeat_the_run_s_record_are_gone(flag: str) -> None:
    words = f"--output_dir out --export_dir merged {flag}"
    with pytest.raises(UsageError, match=r"is a flag of `run`, not of this command"):
        resolve(COMMANDS["export"], words.split())
