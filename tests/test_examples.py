"""Every recipe of llama_factory_example.sh runs by its name, on the demo model."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.commands import ROOT, environment

SCRIPT = ROOT / "llama_factory_example.sh"
NAMES = (
    "lora",
    "qlora4",
    "qlora8",
    "chat",
    "full",
    "preset",
    "grpo",
    "form",
    "dpo",
    "reward",
    "webui",
    "gpus",
    "nodes",
    "gate",
    "export",
)


def recipe(*words: str, runs: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", str(SCRIPT), *words],
        cwd=runs,
        env=environment(RUNS=str(runs / "runs")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )


def test_without_a_name_the_recipes_are_listed(tmp_path: Path) -> None:
    done = recipe(runs=tmp_path)
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert listed == set(NAMES)


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    done = recipe("loora", runs=tmp_path)
    assert done.returncode == 2
    assert "there is no recipe 'loora'" in done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


# Of the first two tests/test_chains.py does the same with a smaller model.
SLOW = {"dpo", "reward", "form"}
ROSE = re.compile(
    r"Reward: ([\d.]+) -> ([\d.]+) \(change \+([\d.]+) to \+([\d.]+)\) on 37 held-out"
)


@pytest.mark.engine
@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=pytest.mark.slow) if it in SLOW else it for it in NAMES],
)
def test_recipe(name: str, runs: Path) -> None:
    done = recipe(name, "--demo", runs=runs)
    assert done.returncode == 0, done.stdout
    if name == "form":  # an update with the wrong sign lets the reward fall
        found = ROSE.search(done.stdout)
        assert found and float(found[3]) > 0.1, done.stdout
    if name == "gate":
        assert "gate: secrets: at_most 0 holds" in done.stdout
        assert 'failures="0"' in (runs / "runs" / "gate.xml").read_text(encoding="utf-8")
    elif name == "export":
        assert (runs / "runs" / "lora-merged" / "model.safetensors").exists()
        assert "Training is already done" in done.stdout
    elif name != "webui":
        saved = "model.safetensors" if name == "full" else "adapter_model.safetensors"
        assert (runs / "runs" / name / saved).exists()
        assert (runs / "runs" / name / "report.html").exists()
