"""A run that ends with GGUF files, and an export that adds one: the user's own commands."""

import json
from pathlib import Path

import pytest

from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.errors import EngineError
from fine_tuning.stages.shipping.llama_cpp.gguf import proved
from tests.commands import ROOT, command, environment
from tests.llama_cpp import needs_llama_cpp
from tests.ollama import ollama

pytestmark = [pytest.mark.engine, needs_llama_cpp]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    place = tmp_path_factory.mktemp("gguf run")
    with ollama(place / "ollama") as found:
        done = command(
            *("run", "--output_dir", "run", "--max_steps", 2, "--score_samples", 0),
            *("--export_dir", "--gguf", "q8_0,Q4_K_M", "--ollama"),
            *("--system", "Answer briefly."),
            cwd=place,
            env=environment(**found),
        )
    assert done.returncode == 0, done.stdout
    return place, done.stdout


def test_a_run_leaves_checked_gguf_files_beside_it(run: tuple[Path, str]) -> None:
    place, output = run
    files = [place / "run-gguf" / f"demo_model-alpaca-{kind}.gguf" for kind in ("q8_0", "q4_k_m")]
    modelfile = place / "run-gguf" / "Modelfile"
    assert sorted((place / "run-gguf").iterdir()) == sorted([*files, modelfile])
    assert files[1].stat().st_size < files[0].stat().st_size < 3_000_000
    record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
    assert [file["type"] for file in record["stages"]["gguf"]["result"]["files"]] == [
        "q8_0",
        "q4_k_m",
    ]
    for file in files:
        assert f"GGUF file: {file.relative_to(place)}" in output
        assert str(file.relative_to(place)) in (place / "run" / "report.html").read_text("utf-8")
    assert (place / "run-merged" / "config.json").is_file()
    derived = "--export_dir run-merged --gguf_dir run-gguf --ollama demo_model-alpaca"
    assert f"Not given, and derived: {derived}" in output
    assert "of 16 answers are the same, log-probabilities differ by" in output


def test_a_file_that_answers_otherwise_than_was_trained_is_refused(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    place, _ = run
    text = (place / "run" / "contract.json").read_text(encoding="utf-8")
    contract = json.loads(text)
    for conversation in contract["conversations"]:
        for position in conversation["positions"]:
            position["top"] = [[token, word, it - 2] for token, word, it in position["top"]]
    (tmp_path / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    file = place / "run-gguf" / "demo_model-alpaca-q8_0.gguf"
    with (
        pytest.raises(EngineError, match=r"q8\.gguf does not answer as was trained"),
        open_screen() as screen,
    ):
        proved(file, "q8.gguf", tmp_path / "contract.json", tmp_path / "log", screen)


def test_ollama_has_the_model_and_renders_the_trained_prompts(run: tuple[Path, str]) -> None:
    place, output = run
    lines = (place / "run-gguf" / "Modelfile").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "FROM ./demo_model-alpaca-q8_0.gguf"
    assert 'PARAMETER stop "<|im_end|>"' in lines and 'SYSTEM "Answer briefly."' in lines
    assert "PARAMETER num_ctx 1024" in lines
    assert (place / "ollama" / "demo_model-alpaca.json").is_file()
    assert "Ollama makes as many tokens of the prompts of 3 conversations" in output
    assert "ollama push YOUR_NAME/demo_model-alpaca" in output


def test_export_adds_a_format_and_says_the_commands_where_ollama_is_not_installed(
    run: tuple[Path, str],
) -> None:
    place, _ = run
    before = {path: path.stat().st_mtime_ns for path in (place / "run-gguf").glob("*.gguf")}
    words = ("--gguf", "q8_0", "q6_k", "--ollama", "other")
    done = command("export", "--output_dir", "run", *words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "The merged model is already in run-merged" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in (place / "run-gguf").glob("*.gguf")}
    assert before.items() <= after.items()
    assert {path.name for path in after.keys() - before.keys()} == {"demo_model-alpaca-q6_k.gguf"}
    assert "Ollama is not installed here" in done.stdout
    assert "ollama create other -f run-gguf/Modelfile" in done.stdout
    modelfile = (place / "run-gguf" / "Modelfile").read_text(encoding="utf-8")
    assert 'SYSTEM "Answer briefly."' in modelfile, "of the run"


@pytest.mark.slow
def test_the_ladder_measures_all_sizes_on_the_held_out_rows(run: tuple[Path, str]) -> None:
    place, _ = run
    words = ("--gguf", "ladder", "--score_samples", 6, "--json")
    done = command("export", "--output_dir", "run", *words, cwd=place)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("type "))
    types = ["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]
    assert [line.split()[0] for line in lines[start + 1 : start + 7]] == types
    assert "Nothing in demo_model-alpaca-q4_k_m.gguf is q4_K" in done.stdout
    record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
    found = record["stages"]["ladder"]["result"]
    assert found["rows"] == 6 and [rung["type"] for rung in found["rungs"]] == types
    apart = {rung["type"]: rung["divergence"] for rung in found["rungs"][1:]}
    assert 0 < apart["q8_0"] < apart["q4_k_m"] < apart["q3_k_m"], "fewer bits lose more"
    assert f"Recommended: {found['recommended']}" in done.stdout
    assert 'id="sizes"' in (place / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_of_others_and_an_adapter_become_files(run: tuple[Path, str]) -> None:
    place, _ = run
    done = command("export", "--model_name_or_path", "run-merged", "--gguf", "q8_0", cwd=place)
    assert done.returncode == 0, done.stdout
    assert (place / "run-merged-gguf" / "run-merged-q8_0.gguf").is_file()
    again = command("export", "--model_name_or_path", "run-merged", "--gguf", "q8_0", cwd=place)
    assert again.returncode == 2 and "is there already" in again.stdout
    done = command("export", "--output_dir", "run", "--gguf_adapter", cwd=place)
    assert done.returncode == 0, done.stdout
    assert (place / "run-gguf" / "demo_model-alpaca-adapter.gguf").stat().st_size > 100_000
    assert "of 16 answers are the same" in done.stdout


@pytest.mark.slow
def test_the_merged_model_itself_goes_to_ollama_where_that_imports_it(tmp_path: Path) -> None:
    words = ("--max_steps", 2, "--score_samples", 0, "--export_dir", "merged", "--ollama", "mine")
    with ollama(tmp_path / "ollama") as found:
        for said in ("Ollama makes as many tokens", "Ollama has mine already"):
            done = command(
                "run", "--output_dir", "run", *words, cwd=tmp_path, env=environment(**found)
            )
            assert done.returncode == 0, done.stdout
            assert said in done.stdout and "--gguf_dir" not in done.stdout
    assert (tmp_path / "merged" / "Modelfile").read_text(encoding="utf-8").startswith("FROM .\n")
    assert not list(tmp_path.rglob("run-gguf"))
    assert "ollama run mine" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    config = tmp_path / "merged" / "config.json"
    kind = config.read_text(encoding="utf-8").replace("LlamaForCausalLM", "Qwen3ForCausalLM")
    config.write_text(kind, encoding="utf-8")
    done = command("export", "--output_dir", "run", "--ollama", "other", cwd=tmp_path)
    assert done.returncode == 1 and "has changed" in done.stdout


def test_a_run_is_refused_before_it_trains_where_llama_cpp_is_missing(tmp_path: Path) -> None:
    words = ("--output_dir", "run", "--gguf", "q4_k_m", "--llama_cpp", ROOT / "docs")
    done = command("run", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{ROOT / 'docs'} holds nothing of llama.cpp's" in done.stdout
    assert "make llama-cpp" in done.stdout
    assert not (tmp_path / "run").exists()
