"""What the worker and the processes of a training find in their environment."""

import os
import sys
from pathlib import Path

import pytest

from fine_tuning.engine.process.environment import ALLOCATORS, environment, training_environment
from fine_tuning.values.spec import RunSpec


def test_memory_is_allocated_in_segments_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ALLOCATORS:
        monkeypatch.delenv(name, raising=False)
    assert environment(RunSpec())["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert "PYTORCH_ALLOC_CONF" not in environment(RunSpec(use_cpu=True))
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    assert "PYTORCH_ALLOC_CONF" not in environment(RunSpec())


def test_processes_share_the_cores_also_where_nobody_named_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without --nproc_per_node torchrun gave each process a single thread."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    assert training_environment(RunSpec(), 4, {})["OMP_NUM_THREADS"] == "8"
    assert "OMP_NUM_THREADS" not in training_environment(RunSpec(), 1, {})


def test_fsdp_is_known_when_the_model_is_loaded(tmp_path: Path) -> None:
    config = tmp_path / "fsdp.json"
    config.write_text('{"fsdp_version": 2}', encoding="utf-8")
    settings = {"fsdp": "full_shard", "fsdp_config": str(config)}
    found = training_environment(RunSpec(), 2, settings)
    assert (found["ACCELERATE_USE_FSDP"], found["FSDP_VERSION"]) == ("true", "2")
