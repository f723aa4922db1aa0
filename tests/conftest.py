"""Shared by all tests: a tiny model, and a guard against starting the engine by accident."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import shell

shell.clean()  # before anything is imported that reads the environment

from fine_tuning.engine.process import launch  # noqa: E402


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line: what was skipped, and how to run it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        return
    shell.end_warm_workers()
    if reporter is None:
        return
    skipped = [
        report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())
    ]
    ways = [f"{reason} ({count})" for reason, count in Counter(skipped).items()]
    if config.option.markexpr == "not slow":
        ways.append("marked slow: `make test-all` runs them")
    if ways:
        reporter.write_line(f"Skipped: {'; '.join(ways)}.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that start the engine most often come first, so that two processes end together."""
    engines = Counter(item.path for item in items if item.get_closest_marker("engine"))
    items.sort(key=lambda item: -engines[item.path])


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
def demo_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as it is, unquantised, in a GGUF file."""
    from tests.commands import ROOT
    from tests.llama_cpp import converted

    return converted(ROOT / "demo_model", tmp_path_factory.mktemp("gguf") / "demo-f32.gguf")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has spaces and Chinese in it, with a dataset for whole runs."""
    from tests.runs import write_rows

    folder = tmp_path_factory.mktemp("my data 数据")
    write_rows(folder / "训练 rows.json")
    return folder


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL with random weights that takes images and videos."""
    from tests.models import build_vision_model

    return build_vision_model(tmp_path_factory.mktemp("models") / "seeing")
