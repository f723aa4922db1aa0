"""`export` merges finished runs only."""

import json
import os
from pathlib import Path

import pytest

from fine_tuning.cli.export import require_finished, without_gpu
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.errors import UsageError
from fine_tuning.job import asking
from fine_tuning.job.settling import settle
from fine_tuning.run_folder import to_json
from fine_tuning.values.spec import RunSpec


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.json").write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no run"),
        ({"adapter_config": "{}"}, "holds an adapter, but no run.json"),
        ({"run": "{"}, "is damaged"),
        ({"run": "{}"}, "has not finished training"),
        ({"run": json.dumps({"stages": {"train": {"state": "interrupted"}}})}, "has not finished"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        require_finished(folder(tmp_path, **files))
    assert caught.value.fix


def test_a_finished_run_is_accepted(tmp_path: Path) -> None:
    run = folder(tmp_path, run=json.dumps({"stages": {"train": {"state": "done"}}}))
    with pytest.raises(UsageError, match="weights have gone"):
        require_finished(run)
    (run / "adapter_config.json").touch()
    (run / "adapter_model.safetensors").touch()
    require_finished(run)


def test_a_run_of_a_gpu_is_merged_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """--use_cpu was refused, because the run was trained without it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    words = "--output_dir out --export_dir merged --use_cpu"
    job = without_gpu(resolve(COMMANDS["export"], words.split()))
    trained = {"settings": to_json(RunSpec()), "stages": {"train": {"state": "done"}}}
    spec = settle(job.spec, frozenset(job.sources), trained)
    assert spec.use_cpu is False, "it would be recorded as a setting of the training"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert asking.environment(spec).get("CUDA_VISIBLE_DEVICES", "") == ""


@pytest.mark.parametrize("flag", ["--model_name_or_path m", "--template qwen", "--lora_rank 4"])
def test_flags_that_could_only_repeat_the_run_s_record_are_gone(flag: str) -> None:
    words = f"--output_dir out --export_dir merged {flag}"
    with pytest.raises(UsageError, match=r"is a flag of `run`, not of this command"):
        resolve(COMMANDS["export"], words.split())
