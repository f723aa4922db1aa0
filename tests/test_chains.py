"""Runs that start from the model of another run: sft -> dpo, sft -> rm, for real."""

import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.main import main
from fine_tuning.cli.screens.screen import PlainScreen
from fine_tuning.errors import DataError, UsageError
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.stages.chain import require_same_template, started
from fine_tuning.values.record import Link, RunRecord
from fine_tuning.values.spec import RunSpec
from tests.commands import command, told
from tests.report.spoken import english_in

pytestmark = pytest.mark.engine


def asked(i: int) -> dict[str, str]:
    return {"instruction": f"What comes after {i}?", "output": f"It is {i + 1}, as 你好 {i % 7}."}


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def pairs(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [
        {"prompt": r["instruction"], "chosen": r["output"], "rejected": f"No {r['output'][-3:]}"}
        for r in rows
    ]


@pytest.fixture(scope="module")
def chained(place: Path, tiny_model: Path) -> Path:
    """sft, then dpo and rm from it; the held-out answers are the same in all of them."""
    rows, held_out = [asked(i) for i in range(24)], [asked(i) for i in range(100, 108)]
    chats = (
        *("--dataset_path", write(place / "chats.json", rows)),
        *("--val_dataset_path", write(place / "held_out.json", held_out)),
    )
    compared = (
        *("--dataset_path", write(place / "pairs.json", pairs(rows))),
        *("--val_dataset_path", write(place / "held_out_pairs.json", pairs(held_out))),
    )
    model = ("--model_name_or_path", tiny_model, "--lora_rank", 4, "--lora_alpha", 16)
    steps = ("--use_cpu", "--max_steps", 6, "--learning_rate", 1e-2, "--logging_steps", 1)
    for words in (
        (*model, *chats, "--output_dir", place / "sft"),
        ("--from_run", place / "sft", "--stage", "dpo", *compared, "--output_dir", place / "dpo"),
        (
            *("--from_run", place / "sft", "--stage", "rm", *compared),
            *("--output_dir", place / "rm", "--export_dir", place / "judge"),
        ),
    ):
        done = command("run", *words, *steps, "--dataset_dir", place / "data", cwd=place)
        assert done.returncode == 0, done.stdout
    return place


def of(run: Path) -> RunRecord:
    record = read_record(RunFolder(run))
    assert record is not None
    return record


def test_the_next_run_starts_from_the_model_that_was_scored(chained: Path) -> None:
    scores = [json.loads((chained / run / "scores.json").read_text()) for run in ("sft", "dpo")]
    ended, began = scores[0]["after"], scores[1]["before"]
    assert began["metrics"]["loss"] == pytest.approx(ended["metrics"]["loss"], abs=1e-5)
    assert [s["answer"] for s in began["samples"]] == [s["answer"] for s in ended["samples"]]
    assert began["metrics"]["loss"] < scores[0]["before"]["metrics"]["loss"] - 0.1
    state = json.loads((chained / "dpo" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["log_history"][0]["loss"] == pytest.approx(math.log(2), abs=1e-4), "its reference"


def test_model_template_and_adapter_are_taken_over(chained: Path, tiny_model: Path) -> None:
    settings = of(chained / "dpo").settings
    assert settings.model_name_or_path == str(tiny_model)
    assert settings.engine_args["adapter_name_or_path"] == str(chained / "sft")
    assert (settings.lora_rank, settings.lora_alpha) == (4, 16)
    adapter = json.loads((chained / "dpo" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["r"], adapter["lora_alpha"]) == (4, 16)


def test_the_report_of_the_last_shows_the_whole_chain(chained: Path) -> None:
    (link,) = of(chained / "rm").chain
    assert (link.stage, link.method, link.rows) == ("sft", "lora", 24)
    assert link.scores[0].startswith("Exact match: ")
    weights = hashlib.sha256((chained / "sft" / "adapter_model.safetensors").read_bytes())
    assert link.weights == weights.hexdigest()[:12], "which run it was, whatever lies there now"
    page = (chained / "rm" / "report.html").read_text(encoding="utf-8")
    assert link.weights in page
    assert english_in(page) == []
    assert "The chain of runs" in page and "sft by lora" in page and "rm by lora" in page
    assert "Reward accuracy: " in page
    assert "The chain of runs" not in (chained / "sft" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_exported_reward_model_scores_pairs(chained: Path) -> None:
    report = chained / "judged.json"
    words = ("--model_name_or_path", chained / "judge", "--dataset_path", chained / "pairs.json")
    done = told("score", *words, "--report", report, "--use_cpu", cwd=chained)
    assert done.code == 0, done.text
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["rows_scored"] == 24 and found["ranked"]["accuracy"] > 0.9
    assert {row["winner"] for row in found["scores"]} == {"chosen"} and "Reward margin" in done.text
    assert done.result.rows_scored == 24
    proof = of(chained / "rm").stages.merge
    assert proof is not None and proof.result.rewards is not None
    assert proof.result.rewards.same_ids and proof.result.rewards.apart < 1e-4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--from_run sft --lora_rank 16", "--lora_rank 16: sft was trained with 4."),
        ("--from_run sft --quantization 4bit", "--quantization 4bit: sft was trained with none."),
        ("--from_run sft --template llama3", "--template llama3: sft was trained with auto."),
        ("--from_run sft --model_name_or_path other", "--model_name_or_path goes without"),
        ("--from_run sft --method full", "--method full cannot go on with the adapter of sft"),
        ("--from_run rm", "rm trained a reward model"),
        ("--stage rm --gguf f16", "--gguf writes models that answer"),
        ("--from_run data", "--from_run data holds no run."),
        ("--from_run sft --output_dir sft", "--from_run and --output_dir are both sft"),
    ],
)
def test_what_contradicts_is_refused_before_anything_is_made(
    words: str,
    says: str,
    chained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(chained)
    given = ["run", "--stage", "dpo", "--dataset_path", "pairs.json", *words.split()]
    if "--output_dir" not in given:
        given += ["--output_dir", "new"]
    assert main(given) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (chained / "new").exists()


def trained_by(record: RunRecord, method: str, **merged: Any) -> RunRecord:
    """The same as if another method had trained it."""
    done = record.stages.plan
    assert done is not None
    chosen = dataclasses.replace(done.result.chosen, method=method)
    plan = dataclasses.replace(done, result=dataclasses.replace(done.result, chosen=chosen))
    return dataclasses.replace(record, stages=record.stages.having("plan", plan))


def test_a_whole_model_is_taken_as_it_lies(chained: Path) -> None:
    record = trained_by(of(chained / "sft"), "full")
    spec = RunSpec(from_run=chained / "sft", lora_rank=32)
    sources: Any = {"from_run": "you", "lora_rank": "you"}
    found, (link,) = started(spec, record, sources=sources, screen=PlainScreen(io.StringIO()))
    assert found.model_name_or_path == str(chained / "sft")
    assert found.lora_rank == 32 and "adapter_name_or_path" not in found.engine_args
    assert link.run == str(chained / "sft")


def test_virtual_tokens_go_on_by_their_own_method_only(chained: Path) -> None:
    """It was refused without --method, whose default is lora."""
    record = trained_by(of(chained / "sft"), "prompt_tuning")
    spec, screen = RunSpec(from_run=chained / "sft"), PlainScreen(io.StringIO())
    found, _ = started(spec, record, sources={}, screen=screen)
    assert found.method == "prompt_tuning"
    assert found.engine_args["adapter_name_or_path"] == str(chained / "sft")
    with pytest.raises(UsageError, match="only --method prompt_tuning goes on with"):
        started(spec, record, sources={"method": "you"}, screen=screen)


def test_an_adapter_of_its_own_may_have_another_rank(chained: Path) -> None:
    spec = RunSpec(from_run=chained / "sft", lora_rank=2, engine_args={"create_new_adapter": True})
    sources: Any = {"lora_rank": "you", "create_new_adapter": "you"}
    found, _ = started(
        spec, of(chained / "sft"), sources=sources, screen=PlainScreen(io.StringIO())
    )
    assert found.lora_rank == 2
    assert found.engine_args["adapter_name_or_path"] == str(chained / "sft")


def test_another_template_than_that_of_the_run_before_is_refused(chained: Path) -> None:
    look = of(chained / "dpo").stages.tokens
    assert look is not None
    (link,) = of(chained / "dpo").chain
    require_same_template(look.result.template, (link,))
    other = dataclasses.replace(link, chat_template="another")
    with pytest.raises(UsageError, match="was trained by another chat template"):
        require_same_template(look.result.template, (other,))
    text: Link = dataclasses.replace(link, chat_template=None)
    require_same_template(look.result.template, (text,))


def test_weights_that_somebody_changed_start_nothing(chained: Path) -> None:
    file = chained / "sft" / "adapter_model.safetensors"
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        with pytest.raises(DataError, match="has changed since it was written"):
            spec = RunSpec(from_run=chained / "sft")
            started(spec, of(chained / "sft"), sources={}, screen=PlainScreen(io.StringIO()))
    finally:
        file.write_bytes(kept)
