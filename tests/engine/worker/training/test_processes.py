"""Trainings in two processes that the engine alone cannot do, and what is done in one before."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine.process.launch import free_port, run_distributed
from tests.models import build_model
from tests.trainings import TRAINED, planned

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("stage", "method", "given"),
    [
        ("rm", "full", {}),
        pytest.param("sft", "oft", {"oft_block_size": 8, "oft_rank": 0}, marks=pytest.mark.slow),
    ],
)
def test_two_processes_train_what_the_engine_alone_cannot(
    tmp_path: Path, stage: str, method: str, given: dict[str, Any]
) -> None:
    """ "Expected to mark a variable ready only once"."""
    model = build_model(tmp_path / "model", tied=False)
    plan = planned(tmp_path, model, stage, method, nproc_per_node=2, engine_args=given)
    result = run_distributed(
        [{"stage": "train", "args": request(tmp_path, plan)}],
        job_path=tmp_path / "job.json",
        log_path=tmp_path / "engine.log",
        launch={
            "nproc_per_node": 2,
            "nnodes": 1,
            "node_rank": 0,
            "master_addr": "127.0.0.1",
            "master_port": free_port(),
        },
        environment={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        on_event=lambda event: None,
        stop_path=tmp_path / "stop",
    )
    assert result["world_size"] == 2 and result["encoded"] == TRAINED


def request(folder: Path, plan: Any) -> dict[str, Any]:
    return {
        "settings": dict(plan.settings),
        "stop_path": str(folder / "stop"),
        "expected": {"unit": "rows", "count": TRAINED},
    }


def test_rows_are_encoded_ahead_beside_several_gpus(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLaMA-Factory asked for a distributed launch, though nothing is trained there."""
    import torch

    from fine_tuning.engine.worker.training.encode import encode

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    plan = planned(tmp_path, tiny_model)
    for path in (tmp_path / "dataset").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for turn in chain.from_iterable(row["conversations"] for row in rows):
            turn["weight"] = 1
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {**plan.settings, "use_cpu": False, "bf16": True, "optim": "adamw_torch_fused"}
    events: Any = None  # nothing is said
    result = encode(events=events, settings=settings, out=str(tmp_path / "encoded"))
    assert result["rows"]["train"] == TRAINED
