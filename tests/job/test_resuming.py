"""What of an earlier command still holds: what is done again, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.prepare.media_files import media_state
from fine_tuning.errors import RunConflict
from fine_tuning.job import resuming
from fine_tuning.job.settling import FREE
from fine_tuning.run_folder import RunFolder, fingerprint, from_json, to_json
from fine_tuning.values.data import SplitData
from fine_tuning.values.plan import Plan
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook
from tests.dataset.rows_on_disk import PIXEL, account, messages
from tests.job.jobs import DATA, make_job
from tests.looks import OLDER, TEMPLATE, WRITTEN, look_of

OLD: dict[str, Any] = {
    "num_train_epochs": 1.0,
    "save_steps": 5,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
    "output_dir": "/old",
}


def test_a_model_that_makes_other_rows_overlong_splits_anew() -> None:
    """With the same cutoff the old parts stayed, and rows lost their end in the engine."""
    spec = RunSpec()
    known = resuming.split_inputs(spec, DATA, look_of(overlong={}))
    assert known == resuming.split_inputs(spec, DATA, look_of(overlong={}))
    for name in ("overlong", "validation_overlong"):
        other = look_of(**{"overlong": {}, name: {"3": [600]}})
        assert known != resuming.split_inputs(spec, DATA, other)


def split_inputs_of_json(spec: RunSpec, tokens: dict[str, Any]) -> str:
    """As they were computed before the look at the tokens was a typed value."""
    return fingerprint(
        DATA.fingerprint,
        tokens["cutoff"],
        tokens["overlong"],
        tokens["validation_overlong"],
        spec.val_size,
        spec.seed,
        spec.overlong,
        spec.data,
    )


def plan_inputs_of_json(spec: RunSpec, parts: SplitData, tokens: dict[str, Any]) -> str:
    """As they were computed before the look at the tokens was a typed value."""
    wishes = {name: value for name, value in to_json(spec).items() if name not in FREE}
    wishes["data"] = {k: v for k, v in wishes["data"].items() if k not in FREE}
    wishes["engine_args"] = {
        k: v for k, v in wishes["engine_args"].items() if not k.startswith("export_")
    }
    return fingerprint(
        wishes,
        DATA.fingerprint,
        parts.train_rows,
        parts.val_rows,
        tokens["cutoff"],
        tokens["template"],
    )


REFUSED = {"ours": "ab", "own": "(the model's chat template refuses this row)", "at": 0}
HALF = {"enable_thinking": None, "name": None, "others": ["chatml", "yi"]}
KEPT = {"jinja": None, "shipped": False, "unwritten": "LLaMA-Factory cannot write it as one"}
MANY_OVERLONG = {str(row): [row, 2000 + row] for row in (2, 9, 10, 11, 100)}  # not sorted as text


@pytest.mark.parametrize(
    "written",
    [
        OLDER,
        WRITTEN,
        {**WRITTEN, "overlong": MANY_OVERLONG, "validation_overlong": {"10": [1], "9": [2]}},
        {**WRITTEN, "template": {**TEMPLATE, **KEPT, "difference": REFUSED}},
        {**WRITTEN, "template": {**TEMPLATE, **HALF, "parity": "equal", "difference": None}},
    ],
)
def test_an_old_run_is_neither_split_nor_planned_anew(written: dict[str, Any]) -> None:
    """The hashes of the value are those of the JSON that it was read from."""
    spec = RunSpec(engine_args={"save_steps": 7, "export_size": 2})
    parts = SplitData(train_path=Path("t"), val_path=None, train_rows=11, val_rows=1)
    look = from_json(written, TokenLook)
    assert resuming.split_inputs(spec, DATA, look) == split_inputs_of_json(spec, written)
    assert resuming.plan_inputs(spec, DATA, parts, look) == plan_inputs_of_json(
        spec, parts, written
    )


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
    resuming.refuse_another_training(job, plan_of(**longer))
    other = plan_of(**longer, per_device_train_batch_size=8, bf16=True)
    with pytest.raises(RunConflict, match=r"bf16: None .*\n.*batch_size: 2 then, 8 now"):
        resuming.refuse_another_training(job, other)
    with pytest.raises(RunConflict, match="save_steps: 5 then, 10 now"):
        resuming.refuse_another_training(job, plan_of(save_steps=10))


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
    assert [path.name for path in resuming.resumable(job, plan_of(stage="sft"))] == ["checkpoint-5"]
    assert resuming.resumable(job, plan_of(stage="rm")) == []
    assert any("reward model cannot be continued" in text for text in said)
    assert checkpoint.exists() == (rank == 1)


@pytest.mark.parametrize(
    ("state", "epochs", "lost", "again"),
    [
        ("running", 1.0, "changed", True),
        ("running", 1.0, "gone", True),
        ("done", 1.0, "changed", True),
        ("done", 1.0, "gone", False),  # it can be merged still
        ("done", 2.0, "gone", True),
        ("done", 2.0, "nothing", False),
    ],
)
def test_rows_are_checked_again_if_their_pictures_are_others(
    tmp_path: Path, state: str, epochs: float, lost: str, again: bool
) -> None:
    """A finished training went on with other pictures if more epochs were asked."""
    picture = tmp_path / "a.gif"
    picture.write_bytes(PIXEL)
    row = {**messages(("user", "<image>What?"), ("assistant", "Red.")), "images": ["a.gif"]}
    data = account(tmp_path, [row])
    job = make_job(tmp_path, epochs=epochs)
    facts = {"state": state, "settings": {"num_train_epochs": 1.0}}
    job.folder.mark(
        "check", state="done", inputs="i", media=media_state(data), result=to_json(data)
    )
    job.folder.mark("train", **facts)
    if lost == "gone":
        picture.unlink()
    elif lost == "changed":
        picture.write_bytes(PIXEL + b"\0")
    assert (resuming.checked_before(job, "i") is None) == again
