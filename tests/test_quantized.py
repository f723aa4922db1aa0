"""A run that ends with a model for GPU servers, by llm-compressor itself."""

import json
import re
from pathlib import Path

import pytest

from tests.commands import command
from tests.llm_compressor import needs_llm_compressor

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs_llm_compressor]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    place = tmp_path_factory.mktemp("quantised run")
    words = ("--max_steps", 20, "--score_samples", 8, "--export_quantization", "fp8")
    done = command("run", "--output_dir", "run", *words, cwd=place)
    assert done.returncode == 0, done.stdout
    return place, done.stdout


def result(place: Path, stage: str) -> dict[str, object]:
    record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
    found: dict[str, object] = record["stages"][stage]["result"]
    return found


def same_files(place: Path, target: str) -> None:
    """Tokenizer, template and generation config are those of the merged model."""
    merged = place / "run-merged"
    for path in merged.iterdir():
        if path.suffix != ".safetensors" and path.name not in ("config.json", "README.md"):
            assert (place / target / path.name).read_bytes() == path.read_bytes(), path.name


def test_fp8_needs_no_rows_and_answers_the_contract(run: tuple[Path, str]) -> None:
    place, output = run
    assert "Writing it needs no GPU and no rows" in output
    assert "28 layers" in output and "answers are the same, log-probabilities differ" in output
    found = result(place, "quantize")
    assert found["method"] == "FP8_DYNAMIC" and found["calibration"] is None
    verdict = found["verdict"]
    assert isinstance(verdict, dict) and verdict["holds"] and verdict["format"] == "fp8"
    same_files(place, "run-fp8")
    assert (place / "run-fp8" / "recipe.yaml").is_file()
    assert not (place / "run" / "evaluated.json").exists()
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="quantized"' in page and "vllm serve" in page


def test_both_models_are_scored_on_the_same_held_out_rows(run: tuple[Path, str]) -> None:
    place, output = run
    assert "On the same held-out rows, with the 95% interval of each change:" in output
    record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
    loss = next(it for it in record["stages"]["weigh"]["result"] if it["metric"] == "loss")
    after = record["stages"]["train"]["result"]["after"]
    assert loss["before"] == pytest.approx(after["loss"], rel=0.02), "the merged model's"
    assert loss["change"] is not None and loss["n"] == 8


@pytest.mark.parametrize("name", ["gptq", "awq"])
def test_four_bits_are_fitted_to_training_rows(name: str, run: tuple[Path, str]) -> None:
    place, _ = run
    words = ("--export_quantization", name, "--quantized_dir", f"to-{name}")
    done = command("export", "--output_dir", "run", *words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Calibrated on 256 training rows" in done.stdout and "with seed 42" in done.stdout
    assert re.search(r"slow: about \d+:\d\d", done.stdout), "without a GPU"
    found = result(place, "quantize")
    assert (found["format"], found["group"]) == (name, 64)
    verdict = found["verdict"]
    assert isinstance(verdict, dict) and verdict["holds"] and verdict["format"] == "4 bits"
    same_files(place, f"to-{name}")
    again = command("export", "--output_dir", "run", *words, cwd=place)
    assert f"Already there: to-{name}" in again.stdout


def test_a_model_without_a_run_becomes_fp8(run: tuple[Path, str]) -> None:
    place, _ = run
    words = ("--model_name_or_path", "run-merged", "--export_quantization", "fp8")
    done = command("export", *words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert (place / "run-merged-fp8" / "model.safetensors").is_file()
    card = (place / "run-merged-fp8" / "README.md").read_text(encoding="utf-8")
    assert "A copy of run-merged" in card and "FP8_DYNAMIC" in card
