"""Models by their hub name: the real clients against real servers on this machine."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.engine.models.hub import Wanted, fetch_model, require_model, wanted_files
from fine_tuning.errors import EnvironmentProblem, FineTuningError, ModelError
from tests import modelscope_site
from tests.commands import command, environment
from tests.dataset.sources import hub_site
from tests.runs import record, write_rows

NAME = "me/tiny"
HEADER = json.dumps({"w": {"dtype": "U8", "shape": [3_000_000], "data_offsets": [0, 3_000_000]}})
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "README.md": b"# not needed",
    "model.safetensors": len(HEADER).to_bytes(8, "little") + HEADER.encode() + bytes(3_000_000),
    "pytorch_model.bin": b"the same weights again",
    "original/consolidated.00.pth": b"and again",
    "tiny-q4.gguf": b"and again",
}
NEEDED = {"config.json", "tokenizer.json", "model.safetensors"}


def nothing(done: int, total: int) -> None:
    """Nobody looks at the progress."""


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "x.bin"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["pytorch_model.bin", "training_args.bin", "optimizer.bin"], ["pytorch_model.bin"]),
        (["weights.safetensors", "consolidated.safetensors"], ["weights.safetensors"]),
        (["model.gguf"], []),
    ],
)
def test_the_weights_that_transformers_would_load(files: list[str], weights: list[str]) -> None:
    listed = ["config.json", "vocab.txt", "sub/model.safetensors", *files]
    assert wanted_files(listed, weights=True) == ["config.json", "vocab.txt", *weights]
    assert wanted_files(listed, weights=False) == ["config.json", "vocab.txt"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_site.Site]:
    """Hugging Face's Hub."""
    with hub_site.serve(hub_site.Site(datasets={NAME: FILES})) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        for name in ("HF_HUB_OFFLINE", "USE_MODELSCOPE_HUB"):
            monkeypatch.delenv(name, raising=False)
        yield site


@pytest.fixture
def scope(monkeypatch: pytest.MonkeyPatch) -> Iterator[modelscope_site.Site]:
    """ModelScope."""
    site = modelscope_site.Site(repositories={("models", NAME): FILES})
    with modelscope_site.serve(site):
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", site.url)
        monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield site


def downloaded(cache: Path) -> set[str]:
    """The names of the files in the cache."""
    return {path.name for path in cache.rglob("*") if path.name in FILES}


def test_a_hub_model_is_fetched_once_and_needs_no_network_after(
    hub: hub_site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(name=NAME, cache_dir=str(tmp_path))
    seen: list[tuple[int, int]] = []
    assert fetch_model(wanted, lambda done, total: seen.append((done, total))) == NAME
    size = sum(len(FILES[name]) for name in NEEDED)
    assert seen[0] == (0, size) and seen[-1] == (size, size)
    assert downloaded(tmp_path) == NEEDED
    assert not any(skipped in asked for asked in hub.asked for skipped in ("gguf", "pytorch_model"))
    seen.clear()
    assert fetch_model(wanted, lambda done, total: seen.append((done, total))) == NAME
    assert not seen
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    assert fetch_model(wanted, nothing) == NAME
    assert not hub.asked
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch_model(wanted, nothing) == NAME


def test_the_look_at_the_data_fetches_no_weights(hub: hub_site.Site, tmp_path: Path) -> None:
    fetch_model(Wanted(name=NAME, cache_dir=str(tmp_path), weights=False), nothing)
    assert downloaded(tmp_path) == NEEDED - {"model.safetensors"}


def test_a_modelscope_model_is_fetched_and_needs_no_network_after(
    scope: modelscope_site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(name=NAME, cache_dir=str(tmp_path))
    seen: list[tuple[int, int]] = []
    folder = Path(fetch_model(wanted, lambda done, total: seen.append((done, total))))
    size = sum(len(FILES[name]) for name in NEEDED)
    assert seen[-1] == (size, size)
    assert {path.name for path in folder.iterdir() if path.name in FILES} == NEEDED
    assert not any("gguf" in asked or "pytorch_model" in asked for asked in scope.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    scope.asked.clear()
    assert Path(fetch_model(wanted, nothing)) == folder
    assert not scope.asked
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    assert Path(fetch_model(wanted, nothing)) == folder


def refusal(wanted: Wanted) -> FineTuningError:
    """What both calls say; a job asks before it reads the data."""
    found = []
    for ask in (lambda: require_model(wanted), lambda: fetch_model(wanted, nothing)):
        with pytest.raises(FineTuningError) as caught:
            ask()
        found.append(caught.value)
    assert str(found[0]) == str(found[1])
    return found[0]


def test_a_name_that_the_hub_does_not_know(hub: hub_site.Site, tmp_path: Path) -> None:
    error = refusal(Wanted(name="me/tny", cache_dir=str(tmp_path)))
    assert isinstance(error, ModelError)
    assert error.what == f"The model me/tny was not found, neither here nor on {hub.url}."


def test_a_name_that_modelscope_does_not_know(scope: modelscope_site.Site, tmp_path: Path) -> None:
    error = refusal(Wanted(name="me/tny", cache_dir=str(tmp_path)))
    assert isinstance(error, ModelError)
    assert error.what == f"The model me/tny was not found, neither here nor on {scope.url}."


def test_a_gated_model(hub: hub_site.Site, tmp_path: Path) -> None:
    hub.denied[NAME] = (403, "GatedRepo")
    error = refusal(Wanted(name=NAME, cache_dir=str(tmp_path)))
    assert isinstance(error, ModelError)
    assert error.what == f"The model {NAME} is gated." and "HF_TOKEN" in error.fix


def test_a_revision_that_is_not_there(hub: hub_site.Site, tmp_path: Path) -> None:
    hub.denied[NAME] = (404, "RevisionNotFound")
    error = refusal(Wanted(name=NAME, revision="v9", cache_dir=str(tmp_path)))
    assert isinstance(error, ModelError)
    assert error.what == f"The model {NAME} has no revision v9."


def test_no_config(hub: hub_site.Site, tmp_path: Path) -> None:
    hub.datasets[NAME] = {"tiny-q4.gguf": b""}
    error = refusal(Wanted(name=NAME, cache_dir=str(tmp_path)))
    assert "has no config.json" in error.what and "GGUF" in error.fix


@pytest.mark.parametrize("modelscope", ["", "1"])
def test_no_network_and_nothing_in_the_cache(
    modelscope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", modelscope)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    wanted = Wanted(name=NAME, cache_dir=str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    error = refusal(wanted)
    assert isinstance(error, EnvironmentProblem)
    assert f"{NAME} is not in the local cache" in error.what
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refusal(wanted).why == "HF_HUB_OFFLINE is set"


def test_a_part_in_the_cache_does_not_pass_for_the_model(
    hub: hub_site.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a --dry_run leaves it, or a download that broke off."""
    wanted = Wanted(name=NAME, cache_dir=str(tmp_path))
    fetch_model(replace(wanted, weights=False), nothing)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_model(replace(wanted, weights=False), nothing) == NAME
    with pytest.raises(EnvironmentProblem) as caught:
        fetch_model(wanted, nothing)
    assert f"only a part of {NAME} is in the cache" in caught.value.what
    assert "has no weights" in caught.value.why


def test_a_busy_hub_is_not_a_missing_network(hub: hub_site.Site, tmp_path: Path) -> None:
    hub.denied[NAME] = (429, "")
    error = refusal(Wanted(name=NAME, cache_dir=str(tmp_path)))
    assert error.what == f"{hub.url} did not give the model {NAME}."
    assert error.why == "it answered with HTTP status 429" and "try again later" in error.fix


def files_of(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}


@pytest.mark.engine
def test_a_run_by_hub_names_and_again_without_network(tiny_model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.json").read_bytes()
    data = {"README.md": b"# rows", "train.json": rows}
    site = hub_site.Site(datasets={NAME: files_of(tiny_model), "me/rows": data})
    words = ("--model_name_or_path", NAME, "--dataset_path", "me/rows", "--max_steps", 1)
    cache = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "", "USE_MODELSCOPE_HUB": ""}
    with hub_site.serve(site):
        env = environment(**cache, HF_ENDPOINT=site.url)
        done = command(*words, "--output_dir", "one", cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stdout
        assert "downloading the dataset: me/rows" in done.stdout
        assert f"downloading the model: {NAME}" in done.stdout
        assert record(tmp_path / "one")["stages"]["train"]
        lost = command("--dataset_path", "me/rwos", "--output_dir", "lost", cwd=tmp_path, env=env)
        assert (lost.returncode, "me/rwos" in lost.stdout) == (1, True), lost.stdout
        assert not (tmp_path / "lost").exists()
    for name, env in (
        ("two", environment(**cache, HF_ENDPOINT=site.url)),  # nobody listens there any more
        ("three", environment(**{**cache, "HF_HUB_OFFLINE": "1"})),
    ):
        done = command(*words, "--output_dir", name, "--dry_run", cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stdout
        assert "downloading" not in done.stdout


@pytest.mark.slow
@pytest.mark.engine
def test_a_run_by_modelscope_names_and_again_without_network(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.json").read_bytes()
    site = modelscope_site.Site()
    site.repositories["models", NAME] = files_of(tiny_model)
    site.repositories["datasets", "me/rows"] = {"README.md": b"# rows", "train.json": rows}
    words = ("--model_name_or_path", NAME, "--dataset_path", "me/rows", "--max_steps", 2)
    cache = {
        "MODELSCOPE_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "USE_MODELSCOPE_HUB": "1",
    }
    with modelscope_site.serve(site):
        env = environment(**cache, HF_HUB_OFFLINE="", MODELSCOPE_ENDPOINT=site.url)
        done = command(
            *words, "--output_dir", "one", "--export_dir", "merged", cwd=tmp_path, env=env
        )
        assert done.returncode == 0, done.stdout
        assert "downloading the dataset: me/rows" in done.stdout
        assert f"downloading the model: {NAME}" in done.stdout
    assert (tmp_path / "merged" / "model.safetensors").exists()
    shutil.rmtree(tmp_path / "one")
    for offline in ("1", ""):  # said by the user, or found out: nobody listens there any more
        env = environment(**cache, HF_HUB_OFFLINE=offline, MODELSCOPE_ENDPOINT=site.url)
        done = command(*words, "--output_dir", "two", "--dry_run", cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stdout
        assert "downloading" not in done.stdout
        shutil.rmtree(tmp_path / "two")
