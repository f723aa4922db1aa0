"""A training that became NaN was called done, merged and proved."""

import json
import shutil
from pathlib import Path

import pytest

from fine_tuning.errors import RowsError
from tests.commands import command
from tests.runs import record, write_rows
from tests.trainings import Heard, planned, train_here

pytestmark = pytest.mark.engine


def test_weights_that_grow_out_of_range_stop_the_training(tiny_model: Path, tmp_path: Path) -> None:
    more = {"max_steps": 6, "eval_strategy": "no"}
    plan = planned(tmp_path, tiny_model, learning_rate=0.5, lora_alpha=10**20, engine_args=more)
    with pytest.raises(RowsError, match=r"Step [2-6] ended the training: the loss") as stopped:
        train_here(tmp_path, plan, scored=False)
    assert "a smaller --learning_rate (it is 0.5)" in stopped.value.fix
    assert len(stopped.value.rows) == 2, "a batch has two rows"
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists()


def test_a_gradient_whose_norm_is_infinite_stops_the_training(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Clipping scaled such gradients to zero: the training went on and learnt nothing."""
    plan = planned(tmp_path, tiny_model, "dpo", lora_alpha=10**26)
    with pytest.raises(RowsError, match="Step 1 ended the training: the gradient") as stopped:
        train_here(tmp_path, plan, scored=False)
    assert len(stopped.value.rows) == 2


def test_float16_gradients_may_overflow_now_and_then() -> None:
    """Their scale is found that way; those that overflow for ever are no matter of the scale."""
    from types import SimpleNamespace

    from fine_tuning.engine.worker.training.callbacks.finite import MOST_SKIPPED, FiniteNumbers

    watch, half = FiniteNumbers(), SimpleNamespace(fp16=True, learning_rate=1e-4)
    for _ in range(MOST_SKIPPED):
        watch._require_norm(half, 3, float("inf"))
    watch._require_norm(half, 3, 1.0)
    watch._require_norm(half, 3, float("nan"))
    with pytest.raises(RowsError, match="the gradient is no longer"):
        for _ in range(MOST_SKIPPED):
            watch._require_norm(half, 3, float("inf"))


def test_a_batch_in_which_nothing_is_trained_is_named() -> None:
    """Its loss is 0 divided by 0."""
    import torch

    from fine_tuning.engine.worker.training.callbacks.finite import _cause

    labels = [torch.full((2, 8), -100)]
    why, fix = _cause(None, 7, "the loss", labels)
    assert why == "nothing in the rows of this batch is trained" and "take these rows out" in fix


def test_a_run_with_a_base_that_gives_nan_names_step_file_and_line(
    tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, tmp_path / "nan")
    weights = load_file(tmp_path / "nan" / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "nan" / "model.safetensors", metadata={"format": "pt"})
    write_rows(tmp_path / "rows.json", 16)
    done = command(
        *("--model_name_or_path", "nan", "--dataset_path", "rows.json", "--output_dir", "out"),
        *("--score_samples", 2, "--val_size", 4, "--batch_size", 1, "--export_dir", "merged"),
        *("--gradient_accumulation_steps", 1),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stdout
    assert "Step 1 ended the training: the loss is no longer a finite number." in done.stdout
    assert f"    {tmp_path / 'rows.json'}:" in done.stdout or "    rows.json:" in done.stdout
    assert "so the base model itself gives such numbers" in done.stdout
    assert not (tmp_path / "merged").exists()
    assert record(tmp_path / "out")["status"] == "failed"
    for name in ("run.json", "scores.json"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        json.loads(text, parse_constant=pytest.fail)  # called for NaN and Infinity


def test_what_the_worker_sends_is_strict_json() -> None:
    heard = Heard()
    heard.events.send("result", {"value": {"loss": float("nan"), "n": [float("inf"), 1.5]}})
    assert heard.of("result")[0]["value"] == {"loss": None, "n": [None, 1.5]}
