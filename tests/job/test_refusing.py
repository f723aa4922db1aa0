"""What cannot be trained is refused once rows and model are known."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import DataError, UsageError
from fine_tuning.job import refusing
from fine_tuning.values.data import SplitData
from fine_tuning.values.spec import RunSpec
from tests.dataset.canonical_files import chat, checked_data
from tests.looks import WRITTEN, look_of

SEEING = {**WRITTEN["model"], "media_positions": True}
PACKED = {"packing": True, "neat_packing": True}


def test_media_that_cannot_be_read_are_named_by_their_lines(tmp_path: Path) -> None:
    data = checked_data(tmp_path, [chat(f"Hello {i}", "Hi") for i in range(12)])
    refusing.refuse_unreadable(data, look_of())
    unreadable = {str(row): f"{row}.png: cut off" for row in (2, 10)}
    with pytest.raises(DataError, match=r"2 rows have media .*\n.*:3: 2\.png.*\n.*:11: 10\.png"):
        refusing.refuse_unreadable(data, look_of(unreadable=unreadable))


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


def test_without_validation_rows_the_training_rows_count(tmp_path: Path) -> None:
    parts = SplitData(train_path=tmp_path, val_path=None, train_rows=4, val_rows=0)
    refusing.refuse_untrainable(RunSpec(engine_args=streamed(4)), "sft", parts, look_of())


def test_rows_that_would_train_nothing_are_refused() -> None:
    encoded = {"rows": {"train": 9}, "untrained": {"train": 9}}
    with pytest.raises(DataError, match="In none of the 9 rows is anything trained"):
        refusing.refuse_untrained(encoded)
    refusing.refuse_untrained({**encoded, "untrained": {"train": 8}})
