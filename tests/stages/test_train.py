"""What a training needs of the machine on which it goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.errors import UsageError
from fine_tuning.stages.train import Train


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ({"kind": "cuda", "names": ["H100"] * 2}, "4 processes need as many GPUs, .* has 2"),
        ({"kind": "cpu", "names": []}, "has begun on 4 GPUs, and this machine has none"),
    ],
)
def test_a_run_that_was_planned_for_more_gpus_is_refused_with_both_numbers(
    devices: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """Its plan is that of the machine on which it began: processes died at their first step,
    and without a GPU the advice was to leave out a --bf16 that nobody had given."""
    chosen = SimpleNamespace(device_type="cuda", processes=4)
    planned: Any = SimpleNamespace(plan=SimpleNamespace(chosen=chosen))
    worker: Any = SimpleNamespace(request=lambda name, *given: devices)
    training = Train(
        planned=planned,
        worker=worker,
        main=tmp_path,
        has_begun=True,
        scores=tmp_path / "scores.json",
        log=tmp_path / "engine.log",
        stop_file=tmp_path / "stop",
    )
    with pytest.raises(UsageError, match=says) as refused:
        training.do(SimpleNamespace())
    assert "--restart" in refused.value.fix
