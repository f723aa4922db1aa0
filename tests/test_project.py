"""What somebody who wants to use, report or change it finds in the project's folder."""

import re
import subprocess
import tomllib

import pytest
import yaml

from fine_tuning import __version__
from tests.commands import ROOT

PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:\w+/)+[\w.]*|\w+\.(?:py|toml|txt|md))`", text)
    inside = ("", "fine_tuning")
    made_by_runs = {"run.json"}
    for path in (*linked, *named):
        found = any((ROOT / place / path).exists() for place in inside)
        assert found or path in made_by_runs, path


def test_the_version_stands_in_one_place_and_the_changelog_knows_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", changes, re.MULTILINE)[:2] == ["Unreleased", __version__]


def test_whoever_reports_a_bug_is_asked_for_what_doctor_prints() -> None:
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in folder.glob("*.yml")}
    asked = {item["id"]: item for item in forms["bug"]["body"]}
    assert "doctor" in asked["doctor"]["attributes"]["description"]
    assert asked["doctor"]["validations"]["required"]


def test_ci_runs_the_checks_before_the_tests() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"
    steps = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    order = [steps.index(step) for step in ("ruff format", "ruff check", "mypy", "pytest")]
    assert order == sorted(order)
