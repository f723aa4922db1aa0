"""Shared by all tests: a tiny model, and a guard against starting the engine by accident."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import shell

shell.clean()  # before anything is imported that reads the environment

from fine_tuning.engine import launch  # noqa: E402


@pytest.fixture(autouse=True)
def engine_only_where_marked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A test that is not marked `engine` fails if it starts a worker: it would take seconds."""
    if not request.node.get_closest_marker("engine"):

        def refuse(*command: Any, **known: Any) -> None:
            raise AssertionError(f"started the engine without @pytest.mark.engine: {command}")

        monkeypatch.setattr(launch, "start_process", refuse)
    yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2-layer Llama with random weights and a ChatML template."""
    from tests.models import build_model

    return build_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL with random weights that takes images and videos."""
    from tests.models import build_vision_model

    return build_vision_model(tmp_path_factory.mktemp("models") / "seeing")
