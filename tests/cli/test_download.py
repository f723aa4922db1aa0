"""`download`: the real clients against servers on this machine that behave like the hubs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fine_tuning.cli.main import main
from fine_tuning.hubs import folder as hub_folder
from tests import modelscope_site
from tests.commands import read_told
from tests.dataset.sources import hub_site

NAME = "me/tiny"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "README.md": b"# how it may be used",
    "model.safetensors": bytes(range(256)) * 20_000,
    "pytorch_model.bin": b"the same weights again",
    "original/consolidated.00.pth": b"and again",
    "tiny-q4.gguf": b"and again",
}
NEEDED = {"config.json", "tokenizer.json", "README.md", "model.safetensors"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_site.Site]:
    rows = {"README.md": b"# rows", "train.jsonl": b'{"text": "a"}\n', "big.bin": b"0" * 10}
    with hub_site.serve(hub_site.Site(datasets={NAME: dict(FILES), "me/rows": rows})) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "USE_MODELSCOPE_HUB"):
            monkeypatch.delenv(name, raising=False)
        yield site


def model(target: Path, *more: str) -> int:
    return main(["download", "--model_name_or_path", NAME, "--output_dir", str(target), *more])


def arrived(target: Path) -> set[str]:
    """The files in the directory, but for what the clients and we note there."""
    names = (path.relative_to(target) for path in target.rglob("*") if path.is_file())
    return {str(name) for name in names if name.parts[0][0] != "." and str(name) != hub_folder.NOTE}


def test_a_model_without_the_weights_that_nobody_loads(
    hub: hub_site.Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my model"
    code = model(target, "--json")
    told = capfd.readouterr()
    assert read_told(told.out, told.err, code).result.files.keys() == NEEDED
    assert arrived(target) == NEEDED
    assert all((target / name).read_bytes() == FILES[name] for name in NEEDED)
    said = told.err
    assert "Left out: 3 files" in said and "tiny-q4.gguf" in said
    assert f"--model_name_or_path {target}" in said and "commit aaaaaaaaaaaa" in said
    hub.asked.clear()
    assert model(target) == 0, "a repeated command has nothing to do"
    assert not hub.asked and "was there already" in capfd.readouterr().out
    assert model(target, "--include", "*.gguf") == 0
    assert "tiny-q4.gguf" in arrived(target)


LARGE = bytes(range(256)) * 90_000  # the client writes 10 MB at a time


def test_a_connection_that_breaks_is_gone_on_with(hub: hub_site.Site, tmp_path: Path) -> None:
    hub.datasets[NAME]["model.safetensors"] = LARGE
    hub.breaks["model.safetensors"] = [12_000_000]
    assert model(tmp_path / "m") == 0
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == LARGE
    assert hub.ranges == ["model.safetensors from 10485760"]


def test_a_connection_that_stays_broken_and_the_same_command_later(
    hub: hub_site.Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.datasets[NAME]["model.safetensors"] = LARGE
    hub.breaks["model.safetensors"] = [12_000_000, *[0] * 20]
    assert model(tmp_path / "m") == 1
    said = capsys.readouterr().err
    assert "The connection to" in said and "whole are not fetched again" in said
    hub.breaks.clear()
    hub.asked.clear()
    assert model(tmp_path / "m") == 0
    got = [asked.rpartition("/")[2] for asked in hub.asked if asked.startswith("GET me/")]
    assert got == ["model.safetensors"]
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == LARGE


def test_files_by_their_names(hub: hub_site.Site, tmp_path: Path) -> None:
    assert model(tmp_path / "m", "--include", "*.gguf", "*.bin", "--exclude", "py*") == 0
    assert arrived(tmp_path / "m") == {"tiny-q4.gguf"}


def test_a_dataset(hub: hub_site.Site, tmp_path: Path) -> None:
    words = ["download", "--dataset_path", "me/rows", "--output_dir", str(tmp_path / "d")]
    assert main([*words, "--exclude", "*.bin"]) == 0
    assert arrived(tmp_path / "d") == {"README.md", "train.jsonl"}


def test_what_is_damaged_on_the_way_is_not_kept(
    hub: hub_site.Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hub_site, "git_id", lambda data: "0" * 40)
        assert model(tmp_path / "m") == 1
    assert "did not arrive as it is on" in capsys.readouterr().err
    assert not json.loads((tmp_path / "m" / hub_folder.NOTE).read_text())["complete"]
    assert model(tmp_path / "m") == 0


@pytest.mark.parametrize(
    ("denied", "said"),
    [
        ((403, "GatedRepo"), "The model me/tiny is gated."),
        ((404, "RepoNotFound"), "The model me/tiny was not found"),
        ((404, "RevisionNotFound"), "The model me/tiny has no revision v9."),
    ],
)
def test_what_the_hub_refuses(
    denied: tuple[int, str],
    said: str,
    hub: hub_site.Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.denied[NAME] = denied
    assert model(tmp_path / "m", "--model_revision", "v9") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "")
    assert model(tmp_path / "m") == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_a_directory_of_something_else_is_not_touched(
    hub: hub_site.Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert model(tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
    assert model(tmp_path / "m") == 0
    assert model(tmp_path / "m", "--model_revision", "v2") == 2
    assert "holds another download" in capsys.readouterr().err


def test_only_one_name_and_a_place_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "--model_name_or_path", "a/b", "--dataset_path", "c/d"]) == 2
    said = capsys.readouterr().err
    assert "One name is needed" in said and "--output_dir is needed" in said


def test_modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with modelscope_site.serve(modelscope_site.Site({("models", NAME): FILES})) as site:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", site.url)
        monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert model(tmp_path / "m") == 0
    found = arrived(tmp_path / "m")
    assert found >= NEEDED and "tiny-q4.gguf" not in found
    assert all((tmp_path / "m" / name).read_bytes() == FILES[name] for name in NEEDED)
