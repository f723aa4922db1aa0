"""What is decided between the stages: what is done again, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.types import CheckedData, SplitData
from fine_tuning.engine.plan.values import Plan
from fine_tuning.errors import RunConflict
from fine_tuning.job import deciding
from fine_tuning.run_folder import RunFolder
from fine_tuning.spec import RunSpec
from tests.job.jobs import make_job

DATA = CheckedData(
    format="alpaca",
    kind="chat",
    files=(),
    rows_read=9,
    rows_kept=9,
    rows_dropped=0,
    rows_path=Path("/r/rows.jsonl"),
    origins_path=Path("/r/rows.origins"),
    report_path=Path("/r/report.json"),
    rejected_path=Path("/r/rejected.jsonl"),
    fingerprint="f",
)


def test_a_model_that_makes_other_rows_overlong_splits_anew() -> None:
    """With the same cutoff the old parts stayed, and rows lost their end in the engine."""
    spec = RunSpec()
    one = {"cutoff": 512, "overlong": {}, "validation_overlong": {}}
    known = deciding.split_inputs(spec, DATA, one)
    assert known == deciding.split_inputs(spec, DATA, dict(one))
    for name in ("overlong", "validation_overlong"):
        assert known != deciding.split_inputs(spec, DATA, {**one, name: {"3": [600]}})


OLD: dict[str, Any] = {
    "num_train_epochs": 1.0,
    "save_steps": 5,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
    "output_dir": "/old",
}


def plan_of(**settings: Any) -> Plan:
    return Plan(
        settings={**OLD, "output_dir": "/new", **settings},
        worker_settings={},
        choices=(),
        steps=1,
        launch={},
        memory=None,
    )


def test_more_epochs_change_only_what_follows_from_the_number_of_steps(tmp_path: Path) -> None:
    """With more epochs another batch, precision or optimizer took over in the middle of a run."""
    job = make_job(tmp_path)
    job.folder.mark("train", state="done", settings=OLD)
    longer = {"num_train_epochs": 2.0, "save_steps": 10, "eval_steps": 10, "logging_steps": 2}
    deciding.refuse_another_training(job, plan_of(**longer))
    other = plan_of(**longer, per_device_train_batch_size=8, bf16=True)
    with pytest.raises(RunConflict, match=r"bf16: None .*\n.*batch_size: 2 then, 8 now"):
        deciding.refuse_another_training(job, other)
    with pytest.raises(RunConflict, match="save_steps: 5 then, 10 now"):
        deciding.refuse_another_training(job, plan_of(save_steps=10))


def test_the_plan_counts_no_more_rows_than_max_samples(tmp_path: Path) -> None:
    """Steps, intervals and accumulation were those of all rows."""
    parts = SplitData(train_path=tmp_path, val_path=tmp_path, train_rows=900, val_rows=100)
    for given, (train, validation, tokens) in {
        50: (50, 50, 1_000),
        200: (200, 100, 3_000),
        5_000: (900, 100, 10_000),
    }.items():
        job = make_job(tmp_path, engine_args={"max_samples": given})
        rows = deciding.planned_rows(job, DATA, parts, {"tokens": 10_000}, "sft")
        assert (rows.train, rows.validation, rows.tokens) == (train, validation, tokens)
    rows = deciding.planned_rows(make_job(tmp_path), DATA, parts, {"tokens": 10_000}, "sft")
    assert (rows.train, rows.validation) == (900, 100)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_node_sets_checkpoints_aside(tmp_path: Path, rank: int) -> None:
    checkpoint = tmp_path / "checkpoint-5"
    checkpoint.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "trainer_state.json"):
        (checkpoint / name).write_text("{}", encoding="utf-8")
    RunFolder(tmp_path).mark("train", state="interrupted", settings={"save_only_model": True})
    folder = tmp_path if rank == 0 else tmp_path / f"node-{rank}"
    said: list[str] = []
    job = make_job(folder, said=said.append, node_rank=rank, nnodes=2)
    job.folder.load()
    assert [path.name for path in deciding.resumable(job, plan_of(stage="sft"))] == ["checkpoint-5"]
    assert deciding.resumable(job, plan_of(stage="rm")) == []
    assert any("reward model cannot be continued" in text for text in said)
    assert checkpoint.exists() == (rank == 1)
