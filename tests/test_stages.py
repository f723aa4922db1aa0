"""Every stage and every method that is offered trains for real, on a tiny model."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command, start
from tests.runs import record, wait_for, write_rows

pytestmark = pytest.mark.engine


def preference_rows() -> list[dict[str, Any]]:
    return [
        {"prompt": f"What is {i * 37 % 101}?", "chosen": f"It is {i}.", "rejected": f"No {i}!"}
        for i in range(24)
    ]


def kto_rows() -> list[dict[str, Any]]:
    return [
        {"prompt": f"What is {i * 37 % 101}?", "completion": f"It is {i}.", "label": i % 2 == 0}
        for i in range(24)
    ]


def text_rows() -> list[dict[str, Any]]:
    return [
        {"text": f"Chapter {i}. " + f"The sea has {i * 31 % 97} islands. " * 20} for i in range(30)
    ]


def sft_rows() -> list[dict[str, Any]]:
    return [{"instruction": f"What is {i}?", "output": f"It is {i}."} for i in range(24)]


ROWS = {
    "dpo": preference_rows,
    "orpo": preference_rows,
    "simpo": preference_rows,
    "rm": preference_rows,
    "kto": kto_rows,
    "pt": text_rows,
}


@pytest.mark.parametrize("stage", ROWS)
def test_stage(stage: str, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS[stage]()), encoding="utf-8")
    named = ["--stage", stage] if stage in ("dpo", "orpo", "simpo", "rm") else []
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", "rows.json"),
        *("--output_dir", "out", "--max_steps", 2, "--score_samples", 2, *named),
        *("--export_dir", "merged"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    known = record(tmp_path / "out")
    settings = known["begun"]
    assert settings["stage"] == ("dpo" if stage in ("orpo", "simpo") else stage)
    assert known["stages"]["split"]["result"]["val_rows"] > 0
    logged = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))
    assert any("eval_loss" in entry for entry in logged["log_history"])
    trained = known["stages"]["train"]["result"]
    assert trained["encoded"] == trained["expected"]["count"] > 0
    assert trained["expected"]["unit"] == ("blocks" if stage == "pt" else "rows")
    if stage != "pt":
        assert trained["encoded"] == known["stages"]["split"]["result"]["train_rows"]
    merged = tmp_path / "merged"
    assert (merged / "model.safetensors").exists()
    assert (tmp_path / "out" / "report.html").exists()
    made = json.loads((merged / "config.json").read_text(encoding="utf-8"))["architectures"]
    assert made == ["LlamaForSequenceClassification" if stage == "rm" else "LlamaForCausalLM"]
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        assert (merged / name).read_bytes() == (tiny_model / name).read_bytes()


@pytest.mark.parametrize(
    ("what", "rows", "more"),
    [
        ("a reward model", preference_rows, ("--stage", "rm")),
        pytest.param(
            "a training by PiSSA",
            sft_rows,
            ("--pissa_init", "true"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_training_that_cannot_be_continued_starts_anew(
    what: str, rows: Any, more: tuple[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    """LLaMA-Factory refused: "Output directory already exists ... set overwrite_output_dir". What
    PiSSA went on with was saved as another model than the trained one."""
    (tmp_path / "rows.json").write_text(json.dumps(rows()), encoding="utf-8")
    words = (
        *("--model_name_or_path", tiny_model, "--dataset_path", "rows.json", *more),
        *("--output_dir", "out", "--max_steps", 40, "--save_steps", 2),
    )
    process = start(*words, cwd=tmp_path)
    wait_for(process, tmp_path / "out" / "checkpoint-2")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert list((tmp_path / "out").glob("checkpoint-*"))
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{what} cannot be continued" in done.stdout


@pytest.mark.parametrize("method", ["full", "freeze", "oft"])
def test_method(method: str, tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", 24)
    more = ["--freeze_trainable_layers", 1] if method == "freeze" else []
    more += ["--oft_block_size", 8, "--oft_rank", 0] if method == "oft" else []
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", "rows.json"),
        *("--method", method, "--output_dir", "out", "--max_steps", 2, "--score_samples", 2),
        *("--export_dir", "merged", *more),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert base.keys() == merged.keys()
    assert any(not bool((base[name] == merged[name]).all()) for name in base), "nothing changed"
    proof = record(tmp_path / "out")["stages"]["merge"]["result"]["proof"]
    against = "base + adapter" if method == "oft" else "the trained checkpoint"
    assert (proof["proved"], proof["against"]) == (True, against)
    assert f"answers like {against}" in " ".join(done.stdout.split())


def test_every_row_is_in_the_packed_blocks(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", 24)
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", "rows.json", "--neat_packing"),
        *("--output_dir", "out", "--max_steps", 1, "--score_samples", 0, "--max_seq_length", 256),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    stages = record(tmp_path / "out")["stages"]
    rows = stages["split"]["result"]["train_rows"]
    assert stages["train"]["result"]["encoded"] == rows
    assert stages["train"]["result"]["expected"] == {"count": rows, "unit": "rows"}
