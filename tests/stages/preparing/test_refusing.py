"""What cannot be trained is refused once rows and model are known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fine_tuning.errors import UsageError
from fine_tuning.stages.preparing import refusing
from fine_tuning.stages.shipping import merge
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.record import Stages
from fine_tuning.values.shown import ProblemGroup
from fine_tuning.values.spec import RunSpec
from tests.looks import WRITTEN, look_of

SEEING = {**WRITTEN["model"], "media_positions": True}
PACKED = {"packing": True, "neat_packing": True}


def streamed(workers: int) -> dict[str, Any]:
    return {"streaming": True, "dataloader_num_workers": workers}


@pytest.mark.parametrize(
    ("stage", "model", "given", "message"),
    [
        ("kto", SEEING, {}, "--stage kto does not work"),
        ("kto", WRITTEN["model"], {}, None),
        ("dpo", SEEING, {}, None),
        ("dpo", None, {"pissa_init": True}, "--pissa_init does not go with"),
        ("sft", None, {"pissa_init": True}, None),
        ("grpo", None, {"pissa_init": True}, "--pissa_init does not go with"),
        ("rm", None, {"pissa_init": True}, "--pissa_init does not go with --stage rm"),
        ("rloo", None, {"streaming": True}, "do not go with --deepspeed, --fsdp or --streaming"),
        ("grpo", None, {}, None),
        ("sft", SEEING, PACKED, "needs FlashAttention 2"),
        ("sft", SEEING, {**PACKED, "flash_attn": "fa2"}, None),
        ("sft", WRITTEN["model"], PACKED, None),
        ("sft", WRITTEN["model"], {**PACKED, "cutoff": 150}, "a multiple of 8"),
        ("sft", WRITTEN["model"], {**PACKED, "cutoff": 150, "flash_attn": "fa2"}, None),
        ("sft", None, PACKED, None),
        ("sft", SEEING, streamed(3), None),
        ("sft", None, streamed(4), "above the number of rows to stream"),
        ("sft", None, {"dataloader_num_workers": 4}, None),
    ],
)
def test_settings_that_the_engine_refuses_late(
    tmp_path: Path, stage: str, model: Any, given: dict[str, Any], message: str | None
) -> None:
    parts = SplitData(train_path=tmp_path, val_path=tmp_path, train_rows=30, val_rows=3)
    look = look_of(model=model, cutoff=given.get("cutoff", 1024))
    spec = RunSpec(engine_args={name: it for name, it in given.items() if name != "cutoff"})
    if message is None:
        refusing.refuse_untrainable(spec, stage, parts, look)
        return
    with pytest.raises(UsageError, match=message):
        refusing.refuse_untrainable(spec, stage, parts, look)


def test_a_checkpoint_of_pissa_is_not_merged(tmp_path: Path) -> None:
    """Another base than the one that it fits would be drawn for it."""
    spec = RunSpec(checkpoint="8", export_dir=tmp_path / "m", engine_args={"pissa_init": True})
    with pytest.raises(UsageError, match="--checkpoint 8: what PiSSA saves on its way fits no"):
        merge.refuse_used(spec, tmp_path, Stages())


def test_without_validation_rows_the_training_rows_count(tmp_path: Path) -> None:
    parts = SplitData(train_path=tmp_path, val_path=None, train_rows=4, val_rows=0)
    refusing.refuse_untrainable(RunSpec(engine_args=streamed(4)), "sft", parts, look_of())


@pytest.mark.parametrize(
    ("stage", "message"),
    [("dpo", "they fit --stage sft"), (None, None), ("sft", None)],
)
def test_rows_of_another_stage_are_refused_before_a_model_is_loaded(
    stage: str | None, message: str | None
) -> None:
    """They were refused 20 s later, with the engine loaded and every row tokenised."""
    data = cast(CheckedData, SimpleNamespace(kind="chat", problems=()))
    if message is None:
        refusing.refuse_stage(RunSpec(stage=stage), data)
        return
    with pytest.raises(UsageError, match=message):
        refusing.refuse_stage(RunSpec(stage=stage), data)


@pytest.mark.parametrize(
    ("kind", "wishes", "message"),
    [
        ("chat", {"stage": "grpo"}, "--stage grpo needs --reward: how good an answer is"),
        (
            "chat",
            {"reward": ("exact_match",)},
            "goes with --stage grpo or rloo, not with --stage s",
        ),
        ("chat", {"stage": "grpo", "reward": ("exact",)}, "names no directory, no bundled reward"),
        (
            "preference",
            {"stage": "grpo", "reward": ("exact_match",)},
            "they fit --stage dpo or --stage rm",
        ),
        ("chat", {"engine_args": {"beta": 0.1}}, "--beta is an argument of TRL"),
        ("chat", {"stage": "rloo", "reward": ("json_valid",)}, None),
        ("chat", {}, None),
    ],
)
def test_rewards_and_rows_that_do_not_fit_are_refused_before_a_model_is_loaded(
    kind: str, wishes: dict[str, Any], message: str | None
) -> None:
    data = cast(CheckedData, SimpleNamespace(kind=kind, problems=()))
    if message is None:
        refusing.refuse_stage(RunSpec(**wishes), data)
        return
    with pytest.raises(UsageError) as caught:
        refusing.refuse_stage(RunSpec(**wishes), data)
    assert message in str(caught.value)


def test_a_method_that_does_not_go_with_the_stage_of_the_rows_is_refused() -> None:
    """The stage follows from the rows, where none is named."""
    data = cast(CheckedData, SimpleNamespace(kind="kto", problems=()))
    with pytest.raises(UsageError, match="goes with --stage sft and pt"):
        refusing.refuse_stage(RunSpec(method="adalora"), data)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            {"stage": "grpo", "reward": ("json_valid", "exact_match=2")},
            "--reward exact_match=2 compares with the answers of the rows, and 3 of 9 have none "
            "(first at rows.jsonl:4).",
        ),
        ({"stage": "rloo", "reward": ("json_valid", "length:9")}, None),
        ({}, "--stage sft learns the answers of the rows, and 3 of 9 have none"),
    ],
)
def test_prompts_alone_are_refused_where_an_answer_is_learned_or_compared_with(
    wishes: dict[str, Any], message: str | None
) -> None:
    group = ProblemGroup(code="unanswered", count=3, message="", first="rows.jsonl:4")
    data = cast(CheckedData, SimpleNamespace(kind="chat", problems=(group,), rows_kept=9))
    if message is None:
        refusing.refuse_stage(RunSpec(**wishes), data)
        return
    with pytest.raises(UsageError) as caught:
        refusing.refuse_stage(RunSpec(**wishes), data)
    assert message in str(caught.value)
