"""Which files a path means, and what is said when it means none."""

import os
import sys
from pathlib import Path

import pytest

from fine_tuning.dataset.sources import HubChoice, Source, find_sources
from fine_tuning.errors import DataError

ROW = '{"instruction": "a", "output": "b"}\n'


def find(*paths: Path | str) -> list[Source]:
    return find_sources([str(path) for path in paths], hub=HubChoice())


def refusal(*paths: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        find(*paths)
    return str(caught.value)


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(ROW, encoding="utf-8")


def test_a_file_keeps_the_name_that_the_user_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jsonl")
    monkeypatch.chdir(tmp_path)
    (source,) = find("a.jsonl")
    assert (source.name, source.path) == ("a.jsonl", tmp_path / "a.jsonl")
    assert (source.kind, source.compression, source.split) == ("jsonl", "", "train")
    assert source.size == len(ROW)


def test_a_misspelt_file_gets_its_neighbours(tmp_path: Path) -> None:
    make(tmp_path, "my_data.json", "other.txt")
    assert "did you mean my_data.json?" in refusal(tmp_path / "mydata.json")
    assert "did you mean my_data.json?" in refusal(tmp_path / "my_data.jsonl")
    assert "data files there: my_data.json, other.txt" in refusal(tmp_path / "zzz")


def test_every_wrong_path_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refusal(tmp_path / "none.json", tmp_path / "no" / "a.json", tmp_path / "empty")
    assert "none.json: there is no such file" in message
    assert "does not exist either" in message
    assert "empty: no data file in this directory; it is empty" in message


def test_a_directory_gives_its_data_files_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "part-10.jsonl", "part-2.jsonl", "deep/er/x.csv", ".hidden.json")
    make(tmp_path, "README.txt", "dataset_info.json", "notes.md", ".git/y.json")
    sources = find(tmp_path)
    names = [str(source.path.relative_to(tmp_path)) for source in sources]
    assert names == ["deep/er/x.csv", "part-2.jsonl", "part-10.jsonl"]
    assert "4 other files were left out" in sources[0].notes[0]
    assert "dataset_info.json" in sources[0].notes[0]


def test_a_directory_of_other_things_is_one_message(tmp_path: Path) -> None:
    make(tmp_path, *(f"photo{i}.png" for i in range(9)))
    message = refusal(tmp_path)
    assert "no data file in this directory; it holds photo0.png" in message
    assert "and 4 more (wanted: .json .jsonl" in message


def test_splits_are_known_by_the_names_of_files_and_folders(tmp_path: Path) -> None:
    make(tmp_path, "a/train-00000.jsonl", "a/validation-00000.jsonl", "a/test-00000.jsonl")
    make(tmp_path, "b/val.json", "c/test.json", "d/training_data.json", "d/latest.json")
    found = {str(s.path.relative_to(tmp_path)): s.split for s in find(tmp_path)}
    assert found == {
        "a/train-00000.jsonl": "train",
        "a/validation-00000.jsonl": "validation",
        "b/val.json": "validation",
        "d/training_data.json": "train",
        "d/latest.json": "train",
    }
    said = dict(find(tmp_path)[0].problems)
    assert "a/test-00000.jsonl" in said["split_left_out"]
    assert "c/test.json" in said["split_left_out"]
    assert "a/validation-00000.jsonl" in said["split_validation"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "b.jsonl")
    assert len(find(tmp_path / "a.jsonl", tmp_path, tmp_path / "a.jsonl")) == 2


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"a": 1}\n', "json"),
        (b"a,b\n1,2\n", "csv"),
        (b"a\tb\n1\t2\n", "tsv"),
        (b"Once upon a time, there was.\n", "txt"),
        (b"PAR1", "parquet"),
        (b"ARROW1", "arrow"),
    ],
)
def test_a_file_without_suffix_is_known_by_its_content(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "data").write_bytes(content)
    assert find(tmp_path / "data")[0].kind == kind


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    (tmp_path / "a.jsonl").chmod(0)
    assert "a.jsonl: cannot be read (Permission denied)" in refusal(tmp_path / "a.jsonl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert "no regular file" in refusal(tmp_path / "pipe.json")


def test_a_folder_here_is_never_taken_for_a_hub_owner(tmp_path: Path) -> None:
    make(tmp_path, "data/alpaca.json")
    assert "did you mean alpaca.json?" in refusal(tmp_path / "data" / "alpaca")


def test_a_file_name_that_is_not_utf_8_can_be_reported(tmp_path: Path) -> None:
    """Unpacked from an archive made on a Chinese Windows, or met in an ASCII locale."""
    name = os.fsencode(tmp_path) + b"/" + "数据.jsonl".encode("gbk")
    try:
        Path(os.fsdecode(name)).write_text(ROW, encoding="utf-8")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 names only")
    (source,) = find(os.fsdecode(name))
    assert source.name.endswith(r"\xca\xfd\xbe\xdd.jsonl")
    assert source.path.read_text(encoding="utf-8") == ROW


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_broken_link_says_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").symlink_to("gone.jsonl")
    assert "data.jsonl: a link to gone.jsonl, which leads to no file" in refusal(
        tmp_path / "data.jsonl"
    )


def test_a_broken_link_in_a_directory_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").symlink_to("nowhere.jsonl")
    with pytest.raises(DataError, match=r"gone.jsonl: a link to nowhere.jsonl, which leads to no"):
        find_sources([str(tmp_path)], hub=HubChoice())
