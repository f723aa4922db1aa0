"""Which rows of a run are trained, and which parts of them: weights, pictures, streams."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import command
from tests.runs import ROWS, record, write_rows

pytestmark = pytest.mark.engine


def write_weighed_rows(path: Path, count: int = 24) -> Path:
    """Dialogues whose first answer is not to be trained, and plain rows after them."""

    def turns(*texts: str, **weight: int) -> list[dict[str, Any]]:
        asked, answered = texts
        return [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answered, **weight},
        ]

    rows = [
        [*turns(f"Is {i} odd?", f"bad {i}", weight=0), *turns(f"And {i * 31}?", f"good {i}")]
        if i % 2
        else turns(f"What is {i}?", f"good {i}")
        for i in range(count)
    ]
    lines = [json.dumps({"messages": messages}) for messages in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_an_answer_with_weight_zero_is_not_trained(
    tiny_model: Path, place: Path, tmp_path: Path, processes: int
) -> None:
    """What the engine is given, encoded ahead by one process, is what a training by hand finds."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    run = tmp_path / "run 一"
    packed = ("--packing", "true", "--neat_packing", "true", "--nproc_per_node", processes)
    more = packed if processes > 1 else ()
    done = command(
        *("--model_name_or_path", tiny_model, "--output_dir", run, "--epochs", 1),
        *("--dataset_path", write_weighed_rows(tmp_path / "rows.jsonl"), "--score_samples", 2),
        *more,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert "12 answers have the weight 0: they are read, not trained" in done.stdout
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    encoded = load_from_disk(settings["tokenized_path"])
    labels = [label for row in encoded["train"] for label in row["labels"] if label != -100]
    trained = AutoTokenizer.from_pretrained(tiny_model).decode(labels)
    rows = record(run)["stages"]["split"]["result"]["train_rows"]
    assert trained.count("good") == rows
    assert "bad" not in trained
    assert record(run)["stages"]["train"]["result"]["encoded"] == rows


def write_seen_rows(folder: Path, count: int = 16) -> Path:
    """One question about pictures of two sizes, and rows without any."""
    from PIL import Image

    rows: list[dict[str, Any]] = []
    for i in range(count):
        colour = ("red", "blue")[i % 2]
        Image.new("RGB", ((56, 28), (140, 84))[i % 2], colour).save(folder / f"{i}.png")
        answer = {"role": "assistant", "content": f"It is {colour} {i}."}
        asked = {"role": "user", "content": "<image>What colour is it?"}
        rows.append({"messages": [asked, answer], "images": [f"{i}.png"]})
        rows.append({"messages": [{"role": "user", "content": f"Colour {i}?"}, answer]})
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_pictures_are_counted_trained_and_merged(vision_model: Path, tmp_path: Path) -> None:
    data = write_seen_rows(tmp_path)
    words = (
        *("--model_name_or_path", vision_model, "--dataset_path", data),
        *("--output_dir", tmp_path / "run", "--epochs", 1),
        *("--preprocessing_num_workers", 2),  # forked readers must not wait for lost threads
    )
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[:60])
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "1 row has media that cannot be read:\n  " in done.stdout
    assert f"rows.json:1 (kept row index 6): {tmp_path / '3.png'}: " in done.stdout
    (tmp_path / "3.png").write_bytes(whole)  # the rows are the same
    done = command(*words, "--export_dir", tmp_path / "merged", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    stages = record(tmp_path / "run")["stages"]
    assert stages["tokens"]["result"]["media"] == ["images"]
    assert stages["split"]["result"]["val_rows"] > 0
    views = stages["tokens"]["result"]["views"]
    assert stages["merge"]["result"]["proof"]["proved"] is True
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    prompts = [sample["prompt"] for sample in scores["after"]["samples"]]
    assert len(prompts) == stages["split"]["result"]["val_rows"]
    assert any("<|image_pad|>" in prompt for prompt in prompts)
    assert scores["after"]["metrics"]["loss"] < scores["before"]["metrics"]["loss"]
    assert any("<|image_pad|>(x 15)" in text for view in views for text, _ in view["spans"])
    assert stages["train"]["result"]["encoded"] == stages["split"]["result"]["train_rows"]


STREAMED = ("--streaming", "true", "--dataloader_num_workers", 2, "--max_steps", 2)


@pytest.mark.parametrize("kind", ["text", "packed"])
def test_what_is_streamed_is_counted_before_it_is_trained(
    tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    """The readers are forked after the tokenizer's threads began, and must not wait for them."""
    if kind == "text":
        lines = [json.dumps({"text": f"What is {i}? " * (i % 17 + 1)}) for i in range(1200)]
        data = tmp_path / "text.jsonl"
        data.write_text("\n".join(lines), encoding="utf-8")
        more: tuple[object, ...] = ("--max_seq_length", 64, "--buffer_size", 50)
    else:
        data = write_rows(tmp_path / "rows.json")
        more = ("--packing", "true", "--neat_packing", "true")
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", data, "--score_samples", 0),
        *("--output_dir", tmp_path / "run", "--val_size", 0, *STREAMED, *more),
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    assert "comparing what is streamed with what was prepared: done" in done.stdout
    result = record(tmp_path / "run")["stages"]["train"]["result"]
    assert result["encoded"] == result["expected"]["count"] > 0
    if kind == "packed":
        assert result["encoded"] == ROWS
