"""Registration: literal LLaMA-Factory entries, written whole, never losing those of others."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.prepare.register import (
    dataset_entry,
    entry_name,
    register,
    write_dataset_info,
)
from fine_tuning.errors import DataError

CHAT = frozenset({"conversations", "system", "tools"})


def entries(folder: Path) -> Any:
    return json.loads((folder / "dataset_info.json").read_bytes().decode("ascii"))


def test_every_tag_and_every_column_of_the_rows_is_named() -> None:
    assert dataset_entry("chat", CHAT, "/runs/a/train.jsonl") == {
        "file_name": "/runs/a/train.jsonl",
        "formatting": "sharegpt",
        "ranking": False,
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "observation_tag": "tool",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    }
    preference = dataset_entry("preference", CHAT | {"chosen", "rejected"}, "/a.jsonl")
    assert preference["ranking"] is True
    assert preference["columns"]["chosen"] == "chosen"
    assert preference["columns"]["rejected"] == "rejected"
    assert dataset_entry("kto", CHAT | {"label"}, "/a.jsonl")["columns"]["kto_tag"] == "label"
    text = dataset_entry("text", frozenset({"conversations"}), "/a.jsonl")
    assert text["columns"] == {"messages": "conversations"}
    media = dataset_entry("chat", CHAT | {"images"}, "/a.parquet")
    assert media["columns"]["images"] == "images"


def test_rows_without_a_column_that_their_kind_needs_are_refused() -> None:
    with pytest.raises(ValueError, match="canonical kto rows without label"):
        dataset_entry("kto", CHAT, "/a.jsonl")


@pytest.mark.parametrize("path", ["/runs/a[1]/train.jsonl", "/runs/a*/t.jsonl", "/a::b/t.jsonl"])
def test_a_path_that_would_be_read_as_a_pattern_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="--output_dir without these characters"):
        dataset_entry("chat", CHAT, path)


def test_names_are_ascii_without_commas_and_differ_between_runs(tmp_path: Path) -> None:
    names = [
        entry_name(tmp_path / name, "train")
        for name in ("my run, one", "my run; one", "我的运行", "另一个", "..")
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("my-run-one-")
    assert all(name.isascii() and not set(name) & set(', /"\n') for name in names)
    assert entry_name(tmp_path / "我的运行", "train") == names[2]
    assert names[2].startswith("dataset-")
    assert names[2].endswith("-train")


def test_entries_of_others_are_kept(tmp_path: Path) -> None:
    other = {"file_name": "identity.json", "columns": {"prompt": "提示"}}
    register(tmp_path / "data", {"other": other})
    register(tmp_path / "data", {"ours": {"file_name": "/数据 1/train.jsonl"}})
    register(tmp_path / "data", {"ours": {"file_name": "/数据 2/train.jsonl"}})
    assert entries(tmp_path / "data") == {
        "other": other,
        "ours": {"file_name": "/数据 2/train.jsonl"},
    }


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"a": {}}', encoding="utf-8-sig")
    register(tmp_path, {"b": {}})
    assert list(entries(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "why"), [(b'{"a": {', "it is not JSON"), (b"[]", "it holds a list")]
)
def test_a_broken_file_is_named_kept_and_copied(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "dataset_info.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="nothing was registered") as caught:
        register(tmp_path, {"a": {}})
    assert why in str(caught.value)
    assert "mend it, or delete it and run again" in str(caught.value)
    assert path.read_bytes() == content
    copies = list(tmp_path.glob("dataset_info.json.corrupt-*"))
    assert [copy.read_bytes() for copy in copies] == [content]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "shared.json"
    write_dataset_info(real, {"a": {}})
    link = tmp_path / "data" / "dataset_info.json"
    link.parent.mkdir()
    link.symlink_to(real)
    register(link.parent, {"b": {}})
    assert link.is_symlink()
    assert list(json.loads(real.read_text())) == ["a", "b"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").mkdir()
    with pytest.raises(DataError, match=r"cannot be registered in .*dataset_info\.json"):
        register(tmp_path / "data", {"a": {}})


def _register_some(folder: Path, worker: int) -> None:
    for number in range(10):
        register(folder, {f"{worker}-{number}": {"file_name": "/x"}})


def test_processes_that_register_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_register_some, args=(tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(entries(tmp_path)) == 30
    assert {path.name for path in tmp_path.iterdir()} <= {
        "dataset_info.json",
        "dataset_info.json.lock",
    }
