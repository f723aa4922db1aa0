"""Folders of runs: whose they may be, and who works in them."""

from pathlib import Path

import pytest

from fine_tuning.errors import DataError, EnvironmentProblem, RunConflict, UsageError
from fine_tuning.run.folder import RunFolder, make_directory, require_own_folder, set_aside


def test_two_processes_do_not_work_in_one_run(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).held(),
        pytest.raises(RunConflict, match="Another process"),
        RunFolder(tmp_path).held(),
    ):
        pass
    with RunFolder(tmp_path).held():
        pass


def test_a_restarted_run_is_moved_aside_not_deleted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for expected in ("run.old-1", "run.old-2"):
        run.mkdir()
        (run / "run.json").write_text("{}", encoding="utf-8")
        aside = set_aside(run)
        assert aside is not None and aside.name == expected
        assert (aside / "run.json").exists() and not run.exists()
    assert set_aside(run) is None


def test_a_folder_with_files_of_somebody_else_is_refused_and_untouched(tmp_path: Path) -> None:
    """A run would replace `dataset/` in it and continue from `checkpoint-*`."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds files, but no run\.json: dataset\. Nothing"):
        require_own_folder(tmp_path)


def test_a_file_as_output_dir_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match=r"file is a file"):
            require_own_folder(path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nowhere", Path("/proc/nothing")):
        with pytest.raises(EnvironmentProblem, match=r"--dataset_dir .* cannot be used"):
            make_directory(path, "dataset_dir")


def test_a_run_that_was_killed_at_once_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "lock").touch()
    (tmp_path / "node-1").mkdir()
    (tmp_path / ".DS_Store").touch()
    require_own_folder(tmp_path)
    require_own_folder(tmp_path / "new")
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").touch()
    require_own_folder(tmp_path)


@pytest.mark.parametrize("part", ["dataset", "logs"])
def test_a_folder_of_a_run_that_is_a_link_is_named(tmp_path: Path, part: str) -> None:
    """It ended as a bug, after the rows had been read."""
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"{part} is a link to"):
        require_own_folder(tmp_path)
