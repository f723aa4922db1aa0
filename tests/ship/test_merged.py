"""The place of the merged model: found unusable before a training, never after it."""

from pathlib import Path

import pytest

from fine_tuning.errors import UsageError
from fine_tuning.ship.merged import is_whole, require_same, require_usable


@pytest.mark.parametrize("place", [".", "..", "link"])
def test_a_directory_that_would_hold_the_run_is_refused(tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "link").symlink_to(run)
    with pytest.raises(UsageError, match="would hold the run itself"):
        require_usable(run / place, run)


@pytest.mark.parametrize("place", ["dataset/merged", "checkpoint-5", "logs/m"])
def test_a_directory_that_the_run_replaces_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="which the run replaces"):
        require_usable(tmp_path / place, tmp_path)


def test_a_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file"):
        require_usable(tmp_path / "file" / "a" / "merged", tmp_path / "run")


def test_new_and_empty_directories_are_usable(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    require_usable(tmp_path / "empty", tmp_path / "run")
    require_usable(tmp_path / "a" / "b", tmp_path / "run")
    require_usable(tmp_path / "run" / "merged", tmp_path / "run")


def test_a_merged_model_without_weights_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert not is_whole(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert is_whole(tmp_path)


def test_a_merged_model_is_not_silently_kept_as_it_was_written(tmp_path: Path) -> None:
    """--export_size on a finished export had no effect, and nothing was said."""
    require_same(tmp_path, {"export_size": 5}, {"export_size": 5})
    with pytest.raises(UsageError, match="--export_size: it was written with 5, now 1 is given"):
        require_same(tmp_path, {"export_size": 5}, {"export_size": 1})
