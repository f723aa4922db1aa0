"""Getting Chromium: by which way, and that a failure stops nothing."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "make_chromium.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, on a machine without a browser."""
    spec = importlib.util.spec_from_file_location("make_chromium", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NAMES", ())
    monkeypatch.setattr(module, "BROWSERS", tmp_path / "browsers")
    monkeypatch.setattr(module, "LOG", tmp_path / "chromium.log")
    return module


def test_root_takes_the_systems_package_and_others_playwrights_build(script: ModuleType) -> None:
    update, install = script.commands(is_root=True, has_apt=True)
    assert (update[-1], install[-1]) == ("update", "chromium")
    for is_root, has_apt in ((False, True), (True, False)):
        [own] = script.commands(is_root=is_root, has_apt=has_apt)
        assert own[1:] == ("-m", "playwright", "install", "chromium")


def test_a_failure_is_said_once_and_not_tried_again_unasked(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = ("sh", "-c", "echo no such package; exit 1")
    monkeypatch.setattr(script, "commands", lambda **machine: [failing, ("/no/such/program",)])
    script.main(["--once"])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == (
        f"Chromium cannot be had here (log: {script.LOG}); the tests of pages are skipped."
    )
    assert "no such package" in script.LOG.read_text(encoding="utf-8")
    script.main(["--once"])
    assert capsys.readouterr().out == ""
    script.main([])
    assert "cannot be had here" in capsys.readouterr().out


def test_one_that_is_there_is_taken(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = script.BROWSERS / "chromium-1234" / "INSTALLATION_COMPLETE"
    mark.parent.mkdir(parents=True)
    mark.touch()
    monkeypatch.setattr(script, "commands", lambda **machine: pytest.fail("nothing to install"))
    script.main([])
    assert capsys.readouterr().out == ""
