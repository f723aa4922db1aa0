"""Paths are judged by where they lead."""

from pathlib import Path

import pytest

from fine_tuning.disk.paths import absolute, shown
from fine_tuning.errors import UsageError
from fine_tuning.run.folder import require_own_folder
from fine_tuning.ship.merged import require_usable


def test_a_way_back_through_a_directory_that_is_not_there_leads_to_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--export_dir a/../existing was taken for a new directory, and written into."""
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    target = absolute("a/../existing")
    assert target == tmp_path / "existing"
    with pytest.raises(UsageError, match="existing is not empty"):
        require_usable(target, tmp_path / "run")
    assert absolute("b") == tmp_path / "b"


def test_a_path_is_shown_as_it_can_be_typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "a") == str(Path("runs", "a"))
    assert shown(tmp_path.parent / "other") == str(tmp_path.parent / "other")


def test_a_home_directory_with_only_hidden_files_becomes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    (home / ".bashrc").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for place, what in (
        (home, "your home directory"),
        (home / ".." / "me", "your home directory"),
        (home.parent, "a directory above your home"),
        (Path(home.anchor), "the root of a disk"),
    ):
        with pytest.raises(UsageError, match=f"is {what}"):
            require_own_folder(place)
    require_own_folder(home / "run")
