"""Datasets on the Hub, with the real client against a real server on this machine."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet
import pytest

from fine_tuning.dataset.sources import HubChoice, Source, find_sources
from fine_tuning.errors import DataError, EnvironmentProblem, FineTuningError
from tests.dataset.read.conftest import read_file
from tests.dataset.sources.hub_site import Site, serve

ROW = b'{"instruction": "a", "output": "b"}\n'
CARD = b"""---
configs:
- config_name: easy
  default: true
  data_files:
  - split: train
    path: easy/part-*.jsonl
  - split: held_out
    path: easy/rest.jsonl
- config_name: hard
  data_dir: hard
---
# A dataset
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve(Site()) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield site


def find(name: str, **choice: str) -> list[Source]:
    return find_sources([name], hub=HubChoice(**choice))


def found(name: str, **choice: str) -> dict[str, str]:
    return {source.name: source.split for source in find(name, **choice)}


def refusal(name: str, **choice: str) -> FineTuningError:
    with pytest.raises(FineTuningError) as caught:
        find(name, **choice)
    return caught.value


def parquet(rows: list[dict[str, str]]) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def test_splits_come_from_the_file_names(site: Site) -> None:
    site.datasets["me/plain"] = {
        "README.md": b"# no front matter",
        "data/train-00000-of-00002.jsonl": ROW,
        "data/train-00001-of-00002.jsonl": ROW,
        "data/validation-00000-of-00001.jsonl": ROW,
        "data/test-00000-of-00001.jsonl": ROW,
        "script.py": b"raise SystemExit('never run')",
    }
    sources = find("me/plain")
    assert {source.name: source.split for source in sources} == {
        "me/plain/data/train-00000-of-00002.jsonl": "train",
        "me/plain/data/train-00001-of-00002.jsonl": "train",
        "me/plain/data/validation-00000-of-00001.jsonl": "validation",
    }
    assert read_file(sources[0].path).values == [{"instruction": "a", "output": "b"}]
    assert 'left out: "test"' in " ".join(sources[0].notes)
    assert not any("script.py" in asked or "/test-" in asked for asked in site.asked)


def test_the_card_names_configurations_and_splits(site: Site) -> None:
    site.datasets["me/card"] = {
        "README.md": CARD,
        "easy/part-1.jsonl": ROW,
        "easy/part-2.jsonl": ROW,
        "easy/rest.jsonl": ROW,
        "hard/train.csv": b"a,b\n1,2\n",
        "other.json": b"[]",
    }
    assert list(found("me/card")) == ["me/card/easy/part-1.jsonl", "me/card/easy/part-2.jsonl"]
    assert found("hf://datasets/me/card", split="held_out") == {
        "hf://datasets/me/card/easy/rest.jsonl": "train"
    }
    assert list(found("me/card", config="hard")) == ["me/card/hard/train.csv"]
    error = refusal("me/card", config="hrd")
    assert isinstance(error, DataError)
    assert str(error) == (
        'me/card has no configuration "hrd".\n'
        '  why:  it has "hard", "easy"\n'
        "  next: give one of these with --dataset_config"
    )
    assert 'has no split "trian"' in str(refusal("me/card", split="trian"))
    assert 'it has "train", "held_out"' in str(refusal("me/card", split="trian"))


@pytest.mark.parametrize(
    "head",
    [b"configs: [", b"- a\n- list", b"a: &a [*a", b"\xff\xfe: 1", b"[" * 5000],
    ids=["open", "list", "alias", "bytes", "deep"],
)
def test_a_card_that_cannot_be_read_is_said(site: Site, head: bytes) -> None:
    """It was passed over: which files are which configuration was guessed without a word."""
    site.datasets["me/broken"] = {
        "README.md": b"---\n" + head + b"\n---\n# A dataset\n",
        "data/train-00000-of-00001.jsonl": ROW,
    }
    (source,) = find("me/broken")
    assert any("the head of its README.md cannot be read" in note for note in source.notes)
    assert "configurations and splits are told by the files' names" in " ".join(source.notes)


def test_a_dataset_that_is_only_a_script_is_read_from_its_conversion(site: Site) -> None:
    site.datasets["me/script"] = {"script.py": b"raise SystemExit"}
    site.converted["me/script"] = {
        "default/train/0000.parquet": parquet([{"instruction": "x", "output": "y"}]),
        "default/test/0000.parquet": parquet([{"instruction": "z", "output": "y"}]),
    }
    (source,) = find("me/script")
    assert source.kind == "parquet"
    assert read_file(source.path).values == [{"instruction": "x", "output": "y"}]
    assert "parquet conversion" in source.notes[0]


def test_no_data_at_all(site: Site) -> None:
    site.datasets["me/pictures"] = {"a.png": b"x"}
    assert "me/pictures holds no data file that can be read" in str(refusal("me/pictures"))


def test_no_train_split_must_be_chosen(site: Site) -> None:
    site.datasets["me/odd"] = {"validation.jsonl": ROW, "test.jsonl": ROW}
    assert "choose one with --dataset_split" in str(refusal("me/odd"))
    assert found("me/odd", split="test") == {"me/odd/test.jsonl": "train"}


@pytest.mark.parametrize(
    ("name", "denied", "kind", "text"),
    [
        (
            "me/nothing",
            None,
            DataError,
            "The dataset me/nothing was not found, neither here nor on http",
        ),
        (
            "me/secret",
            (401, "RepoNotFound"),
            DataError,
            "a private one also looks like this without a token",
        ),
        ("me/gated", (403, "GatedRepo"), DataError, "me/gated is gated"),
        ("me/down", (500, ""), EnvironmentProblem, "HTTP status 500"),
    ],
)
def test_what_the_hub_refuses_has_cause_and_next_step(
    site: Site, name: str, denied: tuple[int, str] | None, kind: type[Exception], text: str
) -> None:
    if denied:
        site.denied[name] = denied
    error = refusal(name)
    assert isinstance(error, kind)
    assert text in str(error)
    assert error.fix


def test_an_unknown_revision_is_named(site: Site) -> None:
    site.datasets["me/plain"] = {"train.jsonl": ROW}
    assert "The dataset me/plain has no revision v9" in str(refusal("me/plain", revision="v9"))


def test_no_network_says_so_and_a_cached_dataset_still_works(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.datasets["me/plain"] = {"train.jsonl": ROW}
    find("me/plain")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (source,) = find("me/plain")
    assert source.path.read_bytes() == ROW
    assert "read from the local cache" in source.notes[0]
    error = refusal("me/other")
    assert isinstance(error, EnvironmentProblem)
    assert "http://127.0.0.1:9 cannot be reached" in str(error)
    assert "set HF_ENDPOINT to a mirror" in error.fix


def test_offline_mode_asks_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.datasets["me/plain"] = {"train.jsonl": ROW}
    find("me/plain")
    site.datasets["me/script"] = {"README.md": b"# card"}
    site.converted["me/script"] = {"default/train/0000.parquet": parquet([{"a": "b"}])}
    find("me/script")
    site.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(find("me/plain")) == 1
    assert list(found("me/script")) == ["me/script/default/train/0000.parquet"]
    assert "HF_HUB_OFFLINE is set" in str(refusal("me/other"))
    assert site.asked == []


def test_local_mistakes_are_named_before_the_network_is_asked(site: Site) -> None:
    with pytest.raises(DataError, match=r"nope\.json"):
        find_sources(["me/plain", "nope.json"], hub=HubChoice())
    assert site.asked == []


def test_modelscope_without_network_is_one_message(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("modelscope_hub")
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = refusal("me/plain")
    assert isinstance(error, EnvironmentProblem)
    assert "ModelScope" in str(error)


def test_reading_and_the_hub_import_neither_torch_nor_datasets() -> None:
    code = (
        "import sys, fine_tuning.dataset.read as r, fine_tuning.dataset.sources.hub as h\n"
        "import huggingface_hub; huggingface_hub.HfApi, huggingface_hub.snapshot_download\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_local_files_do_not_import_the_hub() -> None:
    code = (
        "import sys, fine_tuning.dataset.read, fine_tuning.dataset.sources\n"
        "print([m for m in ('huggingface_hub', 'httpx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
