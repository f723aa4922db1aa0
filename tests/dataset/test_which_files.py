"""Which files are meant: splits by their names, and words that are no path."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset import check as dataset
from fine_tuning.errors import DataError
from fine_tuning.values.spec import DataSpec
from tests.dataset.posted import PAIR_OF_TURNS, PAIRS, codes
from tests.dataset.rows_on_disk import account_of, canonical, report, write_jsonl


def tree(tmp_path: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        listed = [{"instruction": f"{number} {q}", "output": f"{number} {a}"} for q, a in PAIRS]
        write_jsonl(tmp_path / name, listed)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train/d.jsonl", "test/d.jsonl"), {"train/d.jsonl": "train"}),
        (("train/d.jsonl", "dev/d.jsonl"), {"train/d.jsonl": "train", "dev/d.jsonl": "validation"}),
        (("training/a.jsonl", "holdout/a.jsonl"), {"training/a.jsonl": "train"}),
        (
            ("a/train-0.jsonl", "b/eval.jsonl"),
            {"a/train-0.jsonl": "train", "b/eval.jsonl": "validation"},
        ),
        (("data.jsonl", "test.jsonl"), {"data.jsonl": "train"}),
        (
            ("data.jsonl", "unit_test_code.jsonl"),
            {"data.jsonl": "train", "unit_test_code.jsonl": "train"},
        ),
    ],
)
def test_splits_stand_in_names(tmp_path: Path, names: Any, splits: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    tree(data, *names)
    found = account_of(tmp_path, "data").files
    assert {str(Path(f.path).relative_to(data)): f.split for f in found} == splits
    one_by_one = account_of(tmp_path, *(f"data/{name}" for name in names)).files
    assert {str(Path(f.path).relative_to(data)): f.split for f in one_by_one} == splits
    every = account_of(tmp_path, "data", ignore_splits=True).files
    assert [f.split for f in every] == ["train"] * len(names)


def test_a_folder_of_tests_alone_is_not_trained_unasked(tmp_path: Path) -> None:
    tree(tmp_path / "d", "test/a.jsonl", "test/b.jsonl")
    with pytest.raises(DataError, match="--ignore_splits"):
        account_of(tmp_path, "d")
    assert account_of(tmp_path, "d", ignore_splits=True).rows_kept == 2 * len(PAIRS)
    assert account_of(tmp_path, "d/test/a.jsonl").rows_kept == len(PAIRS)


def test_a_saved_dataset_gives_its_train_split_without_caches(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = {
        name: datasets.Dataset.from_list([{"instruction": name + q, "output": a} for q, a in PAIRS])
        for name in ("train", "test")
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    cache = tmp_path / "saved" / "train" / "cache-12ab.arrow"
    cache.write_bytes(next((tmp_path / "saved" / "test").glob("*.arrow")).read_bytes())
    data = account_of(tmp_path, "saved")
    assert (data.rows_kept, codes(data)) == (len(PAIRS), {"split_left_out"})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("https://example.org/x/train.jsonl", "--dataset_path train.jsonl"),
        ("https://huggingface.co/datasets/owner/name", "--dataset_path owner/name"),
        (
            "https://huggingface.co/datasets/owner/name/blob/main/a.json",
            "--dataset_path owner/name",
        ),
        ("huggingface.co/datasets/owner/name", "--dataset_path owner/name"),
        ("https://modelscope.cn/datasets/owner/name", "--dataset_path owner/name"),
        ("s3://bucket/x.jsonl", "aws s3 cp"),
        ("gs://bucket/x.jsonl", "gcloud storage cp"),
        ("-", "standard input"),
        ("a.jsonl,b.jsonl", "separated by spaces: --dataset_path a.jsonl b.jsonl"),
        ("C:\\data\\train.json", "/mnt/c/data/train.json"),
        ("*.parquet", "no file here fits this pattern"),
        ("$DATA/x.jsonl", "the shell left $DATA"),
        ("'a.jsonl'", "--dataset_path a.jsonl"),
        ("hf://datasets/owner/name/data/x.parquet", "--dataset_path owner/name"),
    ],
)
def test_a_word_that_is_no_path_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "a.jsonl", "b.jsonl")
    spec = DataSpec(dataset_path=(word,))
    with pytest.raises(DataError) as caught:
        dataset.account(spec, out_dir=tmp_path / "out")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "word", ["*.jsonl", "file://a.jsonl", "[ab].jsonl", "file://{here}/a.jsonl"]
)
def test_patterns_and_file_addresses_are_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "a.jsonl", "b.jsonl")
    spec = DataSpec(dataset_path=(word.format(here=tmp_path),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out", look=None)
    assert Path(data.files[0].path).name == "a.jsonl"


def test_a_mapping_beside_the_data_is_used_and_said(tmp_path: Path) -> None:
    entry = {
        "file_name": "d.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    listed = [{"talk": [{"who": "me", "what": q}, {"who": "it", "what": a}]} for q, a in PAIRS]
    (tmp_path / "d.json").write_text(json.dumps(listed))
    data = account_of(tmp_path, "d.json")
    found = canonical(data)[0]["conversations"]
    assert [(turn["from"], turn["value"]) for turn in found] == PAIR_OF_TURNS
    assert codes(data) == {"other_mapping"}


def test_a_list_of_datasets_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "d.json"}}))
    data = account_of(tmp_path, "dataset_info.json")
    assert "give the file that it names" in report(data)["problems"][0]["message"]
