"""The plan: what it counts, and what of another training is refused."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine.trainers.trainer import as_begun
from fine_tuning.errors import RunConflict
from fine_tuning.stages.planned import places_of
from fine_tuning.stages.preparing.plan import planned_rows, refuse_another_training
from fine_tuning.values.data import SplitData
from fine_tuning.values.spec import RunSpec
from tests.looks import DATA, look_of


def test_the_plan_counts_no_more_rows_than_max_samples(tmp_path: Path) -> None:
    """Steps, intervals and accumulation were those of all rows."""
    parts = SplitData(train_path=tmp_path, val_path=tmp_path, train_rows=900, val_rows=100)
    look = look_of(tokens=10_000)
    for given, (train, validation, tokens) in {
        50: (50, 50, 1_000),
        200: (200, 100, 3_000),
        5_000: (900, 100, 10_000),
    }.items():
        spec = RunSpec(engine_args={"max_samples": given})
        rows = planned_rows(spec, DATA, parts, look, "sft")
        assert (rows.train, rows.validation, rows.tokens) == (train, validation, tokens)
    rows = planned_rows(RunSpec(), DATA, parts, look, "sft")
    assert (rows.train, rows.validation) == (900, 100)


OLD: dict[str, Any] = {
    "num_train_epochs": 1.0,
    "save_steps": 5,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
}


def test_more_epochs_change_only_what_follows_from_the_number_of_steps(tmp_path: Path) -> None:
    """With more epochs another batch, precision or optimizer took over in the middle of a run."""
    places = places_of(tmp_path, "/m")
    longer = {"num_train_epochs": 2.0, "save_steps": 10, "eval_steps": 10, "logging_steps": 2}
    refuse_another_training(OLD, {**OLD, **longer}, places)
    other = {**OLD, **longer, "per_device_train_batch_size": 8, "bf16": True}
    with pytest.raises(RunConflict, match=r"bf16: None .*\n.*batch_size: 2 then, 8 now"):
        refuse_another_training(OLD, other, places)
    with pytest.raises(RunConflict, match="save_steps: 5 then, 10 now"):
        refuse_another_training(OLD, {**OLD, "save_steps": 10}, places)


def test_a_training_that_goes_on_keeps_its_batches_whatever_is_free(tmp_path: Path) -> None:
    """With another program on the GPU more epochs were refused, for a smaller batch."""
    begun = {**OLD, "gradient_accumulation_steps": 8}
    spec = as_begun(RunSpec(engine_args={"logging_steps": 3}), begun)
    assert spec.batch_size == 2
    assert spec.engine_args == {"gradient_accumulation_steps": 8, "logging_steps": 3}
    assert as_begun(RunSpec(batch_size=4), begun).batch_size == 4, "which is refused as another"
    assert as_begun(RunSpec(), None) == RunSpec()
    places = places_of(tmp_path, "/m")
    refuse_another_training(begun, {**begun, "disable_gradient_checkpointing": True}, places)


def test_held_out_text_is_measured_by_its_size(tmp_path: Path) -> None:
    """One long book among short notes: by rows 10% were held out, which filled no block, and the
    training ended before its first step."""
    train, validation = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    train.write_text("a" * 9_900, encoding="utf-8")
    validation.write_text("a" * 100, encoding="utf-8")
    parts = SplitData(train_path=train, val_path=validation, train_rows=90, val_rows=10)
    look = look_of(tokens=10_000)
    assert planned_rows(RunSpec(), DATA, parts, look, "pt").held_out_tokens == 100
    alone = SplitData(train_path=train, val_path=None, train_rows=90, val_rows=0)
    assert planned_rows(RunSpec(), DATA, alone, look, "pt").held_out_tokens == 0
