"""Files and directories are whole or absent, whoever is killed or writes at the same time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.disk import files
from fine_tuning.errors import DataError, RunConflict, UsageError

FAILURES = [UsageError("no"), OSError(28, "full"), KeyboardInterrupt()]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no open file anyway")


def another_process(code: str) -> "subprocess.Popen[str]":
    """A process that runs the code, says so, and waits to be ended in the middle of it."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from pathlib import Path\nfrom fine_tuning.disk import files\n{code}",
        ],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def writing(block: str) -> str:
    return f"with {block} as partial:\n    print('writing', flush=True)\n    input()\n"


@pytest.mark.parametrize("error", FAILURES)
def test_a_file_that_fails_leaves_the_older_one(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("older")
    with pytest.raises(type(error)), files.written(tmp_path / "a") as partial:
        partial.write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "older"


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    with files.written(tmp_path / "new" / "a", durable=True) as partial:
        partial.write_text("all")
        assert not (tmp_path / "new" / "a").exists()
    assert (tmp_path / "new" / "a").read_text() == "all"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


@posix
def test_mode_and_link_of_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("older")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    files.write_text(tmp_path / "link", "newer\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"newer\n"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


@posix
def test_a_new_file_is_as_open_as_others_of_its_user(tmp_path: Path) -> None:
    """A report that only its owner can read cannot be served."""
    before = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    files.write_text(tmp_path / ("数" * 85), "")
    assert [path.name for path in tmp_path.iterdir()] == ["数" * 85]


@posix
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path,
) -> None:
    target = tmp_path / "[a].json"
    with another_process(writing(f"files.written(Path({str(target)!r}))")) as killed:
        killed.kill()
    assert len(list(tmp_path.iterdir())) == 1
    with another_process(writing(f"files.written(Path({str(target)!r}))")) as living:
        (left,) = tmp_path.iterdir()  # of the second: what the first left has gone
        files.write_text(target, "ours")
        assert left.exists()
        assert target.read_text() == "ours"
        living.communicate("\n")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == ""  # the last one wins, as a whole


@pytest.mark.parametrize("text", [b"", b'{"before": {', b"[1]", b"\xff{}", b"[" * 100_000, b"null"])
def test_a_damaged_side_file_is_named_with_the_way_on(tmp_path: Path, text: bytes) -> None:
    """A truncated scores.json ended as a bug of ours."""
    assert files.read_json(tmp_path / "scores.json", "") == {}
    (tmp_path / "scores.json").write_bytes(text)
    with pytest.raises(DataError, match=r"scores\.json cannot be read: ") as caught:
        files.read_json(tmp_path / "scores.json", "delete it")
    assert caught.value.fix == "delete it"


@pytest.mark.parametrize("error", FAILURES)
def test_a_failed_or_interrupted_export_leaves_nothing_behind(
    tmp_path: Path, error: BaseException
) -> None:
    """A whole model stayed behind in a hidden directory."""
    target = tmp_path / "a" / "b" / "merged"
    with pytest.raises(type(error)), files.written_whole(target) as partial:
        (partial / "model.safetensors").write_bytes(b"x" * 100)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_merged_model_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "merged"
    with files.written_whole(target) as partial:
        (partial / "model.safetensors").touch()
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["merged"]
    assert (target / "model.safetensors").exists()


def test_the_second_of_two_exports_into_one_directory_is_refused(tmp_path: Path) -> None:
    """It removed what the first one was still writing."""
    target = tmp_path / "merged"
    with another_process(writing(f"files.written_whole(Path({str(target)!r}))")) as first:
        with pytest.raises(RunConflict, match="Another process is writing"):  # noqa: SIM117
            with files.written_whole(tmp_path / "." / "merged"):
                pass
        first.communicate("\n")
    assert target.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_a_place_of_a_merged_model_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "merged").symlink_to(tmp_path / "disk" / "m")
    if exists:
        (tmp_path / "disk" / "m").mkdir()
    with files.written_whole(tmp_path / "merged") as partial:
        (partial / "model.safetensors").touch()
    assert (tmp_path / "merged").is_symlink()
    assert (tmp_path / "disk" / "m" / "model.safetensors").exists()


@posix
def test_what_a_killed_export_needed_meanwhile_goes_and_what_a_living_one_needs_stays(
    tmp_path: Path,
) -> None:
    """Each killed export left a GGUF file in full precision for ever."""
    needs = writing(f"files.scratch(Path({str(tmp_path)!r}))")
    with another_process(needs) as killed:
        killed.kill()
    assert len(list(tmp_path.iterdir())) == 1
    with another_process(needs) as living, files.scratch(tmp_path) as ours:
        assert ours.is_dir() and len(list(tmp_path.iterdir())) == 2
        living.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_written_anew(tmp_path: Path) -> None:
    target = tmp_path / "merged"
    with another_process(writing(f"files.written_whole(Path({str(target)!r}))")) as killed:
        killed.kill()
    (next(tmp_path.glob("*.partial")) / "old.safetensors").touch()
    with files.reserved(target), files.written_whole(target) as partial:
        (partial / "new.safetensors").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["merged", "new.safetensors"]


@pytest.mark.parametrize(
    ("number", "what", "fix"),
    [
        (errno.ENOSPC, "The disk is full.", "free space"),
        (errno.EDQUOT, "The disk is full.", "free space"),
        (errno.EACCES, "refused to write or read out.", "permission"),
        (errno.EROFS, "refused to write or read out.", "written to"),
        (errno.ENAMETOOLONG, "refused to write or read out.", "shorter"),
    ],
)
def test_what_the_system_refused_is_said_with_its_place(number: int, what: str, fix: str) -> None:
    error = OSError(number, os.strerror(number), "out")
    told = files.explained(error)
    assert what in told.what
    assert os.strerror(number) in told.why
    assert fix in told.fix
    assert "out" in str(told)
    assert files.is_refusal(error)
    copying = OSError(number, os.strerror(number), "in", None, "out")
    assert "out" in str(files.explained(copying)) and "in " not in files.explained(copying).why


def test_a_full_disk_that_names_no_file_is_said_with_the_places_written_to() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    told = files.explained(error, Path("run"), None, Path("merged"), Path("run"))
    assert told.why == "No space left on device, while run or merged was written"
