"""What a user sees of their own mistakes: one message with cause and next step, the right code."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fine_tuning.disk import files
from tests.commands import command, environment
from tests.dataset.sources.hub_site import Site, serve
from tests.runs import write_rows


def run(*words: object, cwd: Path, **env: str) -> tuple[int, str]:
    done = command(*words, cwd=cwd, env=environment(**env), timeout=300)
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_missing_dataset_names_the_nearest(tmp_path: Path) -> None:
    write_rows(tmp_path / "my_data.json")
    code, text = run("--dataset_path", "my_dta.json", cwd=tmp_path)
    assert code == 1
    assert "my_dta.json" in text and "my_data.json" in text
    assert [path.name for path in tmp_path.iterdir()] == ["my_data.json"]  # no folder is left


def test_a_picture_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    code, text = run("--dataset_path", "d.json", cwd=tmp_path)
    assert code == 1
    assert "PNG picture" in text


def test_no_usable_row(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps([{"instruction": "a", "output": ""}] * 5))
    code, text = run("--dataset_path", "d.json", "--output_dir", "out", cwd=tmp_path)
    assert code == 1
    assert "No row of the data is usable" in text
    assert (tmp_path / "out" / "dataset" / "report.json").exists()
    assert str(tmp_path / "out" / "dataset" / "report.json") in text


def test_a_second_run_into_one_export_directory_is_refused_before_it_trains(
    tmp_path: Path,
) -> None:
    with files.reserved(tmp_path / "merged"):
        words = ("--output_dir", "out", "--export_dir", "out/../merged")
        code, text = run(*words, cwd=tmp_path)
    assert code == 2
    assert f"Another process is writing {tmp_path / 'merged'}" in text
    assert not (tmp_path / "out" / "dataset").exists()


def test_a_model_directory_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "models" / "llama").mkdir(parents=True)
    code, text = run("--model_name_or_path", "./models/lama", cwd=tmp_path)
    assert code == 1
    assert "There is no directory ./models/lama" in text and "llama" in text
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_model_directory_without_weights(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}", encoding="utf-8")
    code, text = run("--model_name_or_path", "m", cwd=tmp_path)
    assert code == 1
    assert "has no weights" in text


def test_an_adapter_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "adapter_config.json").write_text("{}", encoding="utf-8")
    code, text = run("--model_name_or_path", "a", cwd=tmp_path)
    assert code == 1
    assert "--adapter_name_or_path" in text


def test_a_model_with_a_missing_shard(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "model-00001-of-00002.safetensors").write_bytes(b"")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = json.dumps({"weight_map": shards})
    (model / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    code, text = run("--model_name_or_path", "m", cwd=tmp_path)
    assert code == 1
    assert "lacks 1 of its weight files: model-00002-of-00002.safetensors" in text


def test_an_output_directory_that_the_engine_would_read_as_a_pattern(tmp_path: Path) -> None:
    code, text = run("--output_dir", "out[1]", cwd=tmp_path)
    assert code == 1
    assert "pattern" in text and "--output_dir" in text


def test_every_mistake_at_once(tmp_path: Path) -> None:
    code, text = run(
        *("--lora_rnk", 8, "--quantization", "5bit", "--epochs", "three"), cwd=tmp_path
    )
    assert code == 2
    assert "--lora_rank" in text and "5bit" in text and "three" in text


@pytest.mark.engine
def test_an_unknown_template(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--template", "qwenn", "--output_dir", "out"),
        cwd=tmp_path,
    )
    assert code in (1, 2)
    assert "no template named 'qwenn'. Nearest: qwen" in text


@pytest.mark.engine
def test_a_template_that_grows_the_vocabulary(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--template", "llama3", "--output_dir", "out"),
        cwd=tmp_path,
    )
    assert code == 1
    assert "tokens to this model's vocabulary" in text


@pytest.mark.engine
def test_preference_data_without_a_stage_names_those_that_fit(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"q{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(20)]
    (tmp_path / "d.json").write_text(json.dumps(rows), encoding="utf-8")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json", "--output_dir", "out"),
        cwd=tmp_path,
    )
    assert code == 2
    assert "--stage dpo" in text and "--stage rm" in text


@pytest.mark.engine
def test_a_hub_name_without_network(tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", "someone/some-model", "--dataset_path", "d.json"),
        *("--output_dir", "out"),
        cwd=tmp_path,
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path / "hub"),
    )
    assert code == 1
    assert "http://127.0.0.1:9 cannot be reached" in text
    assert "HF_ENDPOINT" in text


@pytest.mark.engine
def test_a_gated_model_without_a_token(tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    site = Site(denied={"someone/gated": (403, "GatedRepo")})
    with serve(site):
        code, text = run(
            *("--model_name_or_path", "someone/gated", "--dataset_path", "d.json"),
            *("--output_dir", "out"),
            cwd=tmp_path,
            HF_ENDPOINT=site.url,
            HF_HOME=str(tmp_path / "hub"),
        )
    assert code == 1
    assert "The model someone/gated is gated." in text and "HF_TOKEN" in text


@pytest.mark.engine
def test_a_model_by_its_hub_name(tiny_model: Path, tmp_path: Path) -> None:
    """The real client downloads config, tokenizer and weights, and the run trains."""
    write_rows(tmp_path / "d.json")
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    site = Site(datasets={"someone/tiny": files})
    with serve(site):
        code, text = run(
            *("--model_name_or_path", "someone/tiny", "--dataset_path", "d.json"),
            *("--output_dir", "out", "--max_steps", 2, "--score_samples", 0),
            *("--export_dir", "merged"),
            cwd=tmp_path,
            HF_ENDPOINT=site.url,
            HF_HOME=str(tmp_path / "hub"),
        )
    assert code == 0, text
    assert any("model.safetensors" in asked for asked in site.asked)
    assert (tmp_path / "merged" / "model.safetensors").exists()


@pytest.mark.engine
def test_four_bits_without_bitsandbytes(tiny_model: Path, tmp_path: Path) -> None:
    """A package of that name that fails on import stands for a missing one."""
    broken = tmp_path / "broken" / "bitsandbytes"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'bitsandbytes'\", name='bitsandbytes')\n",
        encoding="utf-8",
    )
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--output_dir", "out", "--quantization", "4bit"),
        cwd=tmp_path,
        PYTHONPATH=str(broken.parent),
    )
    assert code == 1
    assert "bitsandbytes, which is not installed" in text


def small_disk_of(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own, with so much room."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system (root on Linux)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that ends in the middle of the training."""
    yield from small_disk_of(tmp_path / "small", "600k")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot hold the rows."""
    yield from small_disk_of(tmp_path / "tiny", "16k")


def test_a_disk_that_cannot_hold_the_rows(tiny_disk: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run("--dataset_path", "d.json", "--output_dir", tiny_disk / "out", cwd=tmp_path)
    assert code == 1, text
    assert "The disk is full." in text and str(tiny_disk / "out") in text
    assert not list((tiny_disk / "out").glob("*.tmp"))


@pytest.fixture
def smaller_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is so full in the training that the log cannot say so."""
    yield from small_disk_of(tmp_path / "smaller", "250k")


@pytest.mark.engine
def test_a_disk_without_room_for_the_log(
    tiny_model: Path, smaller_disk: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--output_dir", smaller_disk / "out", "--max_steps", 4),
        *("--score_samples", 0, "--save_strategy", "no"),
        cwd=tmp_path,
    )
    assert code == 1, text
    assert "The disk is full." in text, text


@pytest.mark.engine
def test_a_disk_without_room_for_a_checkpoint(
    tiny_model: Path, smaller_disk: Path, tmp_path: Path
) -> None:
    """The training ended at its first checkpoint."""
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--output_dir", smaller_disk / "out", "--max_steps", 4, "--save_steps", 1),
        *("--score_samples", 0),
        cwd=tmp_path,
    )
    assert code == 1, text
    assert "A checkpoint of this training takes 196.6 kB of the disk" in text, text
    assert "--save_only_model true" in text and "training, 4 steps" not in text


@pytest.mark.engine
def test_a_full_disk(tiny_model: Path, small_disk: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "d.json")
    code, text = run(
        *("--model_name_or_path", tiny_model, "--dataset_path", "d.json"),
        *("--output_dir", small_disk / "out", "--max_steps", 4, "--save_steps", 1),
        *("--score_samples", 0),
        cwd=tmp_path,
    )
    assert code == 1, text
    assert "The disk is full." in text, text
    assert "free space" in text
