"""The documented GitHub Actions example, step by step in a fresh clone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.commands import ROOT, environment

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the example is for a shell"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="it begins with a clone"),
]
INSTALL = "make install"  # whose result is linked into the clone: what it gets is tested elsewhere
TRAINED = """\
dataset_format: alpaca
val_size: 40
"""
GATE = """\
exact_match: {{better_by: 0.1, confidence: 0.95}}
stops: {{at_least: {stops}}}
"""


def documented() -> list[dict[str, Any]]:
    """The steps of the example in docs/eval.md."""
    text = (ROOT / "docs" / "eval.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(name: fine-tune\n.*?)```", text, re.DOTALL)
    return list(yaml.safe_load(block)["jobs"]["gate"]["steps"])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the action for the checkout leaves, with the user's own two files."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    subprocess.run(["git", "clone", "-q", "--depth", "1", ROOT.as_uri(), folder], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "train.yaml").write_text(TRAINED, encoding="utf-8")
    (folder / "gate.yaml").write_text(GATE.format(stops=0.9), encoding="utf-8")
    return folder


def step(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A `run:` line as GitHub runs it; the command of the environment runs the clone's code."""
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder)),
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_every_step_of_the_example_does_what_it_says(clone: Path) -> None:
    steps = documented()
    lines = [it["run"] for it in steps if "run" in it]
    assert lines[0] == INSTALL and "install:" in (clone / "Makefile").read_text(encoding="utf-8")
    for line in lines[1:]:
        done = step(line, clone)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    (uploaded,) = [it["with"]["path"].split() for it in steps if "with" in it]
    assert [name for name in uploaded if not (clone / name).is_file()] == []
    cases = ElementTree.parse(clone / "eval.xml").findall(".//testcase")
    assert len(cases) == 2 and not ElementTree.parse(clone / "eval.xml").findall(".//failure")


def test_a_gate_that_does_not_hold_fails_the_job(clone: Path) -> None:
    (clone / "gate.yaml").write_text(GATE.format(stops=1.0).replace("0.1,", "1.0,"))
    shutil.rmtree(clone / "eval.xml", ignore_errors=True)
    done = step([it["run"] for it in documented() if "run" in it][-1], clone)
    assert done.returncode == 1, done.stderr[-2000:]
    assert ElementTree.parse(clone / "eval.xml").findall(".//failure")
