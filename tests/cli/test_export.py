"""`export` merges finished runs only."""

import json
from pathlib import Path

import pytest

from fine_tuning.cli.export import require_finished
from fine_tuning.errors import UsageError


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
