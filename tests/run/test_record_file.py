"""`run.json` is read as one type, or refused in one sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import DataError
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.codec import json_text
from fine_tuning.values.record import SCHEMA, Done, RunRecord, Stages
from fine_tuning.values.results import Merged, Trained
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import plan

MERGED = Merged(path=Path("/elsewhere/merged"), dtype="bfloat16", bytes=3)
RECORD = RunRecord(
    created=1.0,
    command="run",
    settings=RunSpec(output_dir=Path("/r"), export_dir=Path("/elsewhere/merged")),
    stages=Stages(
        train=Done(
            inputs="i",
            began=1.0,
            seconds=2.0,
            result=Trained(epochs=1.0, metrics={"loss": float("nan"), "n": 3.0}),
        ),
        merge=Done(inputs="m", began=1.0, seconds=2.0, result=MERGED),
    ),
)


def test_a_record_is_strict_json_and_reads_back_as_it_was(tmp_path: Path) -> None:
    text = json_text(RECORD, root=Path("/r"))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    known = json.loads(text, parse_constant=refuse)
    assert known["settings"]["output_dir"] == "."
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    read = read_record(RunFolder(tmp_path))
    assert read is not None and read.stages.train is not None
    assert read.stages.train.result.metrics == {"loss": None, "n": 3.0}
    assert read.settings.output_dir == tmp_path
    assert read.stages.merge == RECORD.stages.merge, "what lies elsewhere stays where it is"


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_record(RunFolder(tmp_path)) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '{"schema": 2}',
        '{"schema": "two"}',
        "\x00",
        '{"schema": 2, "stages": []}',
    ],
)
def test_a_damaged_record_is_named_with_the_way_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json cannot be read") as caught:
        read_record(RunFolder(tmp_path))
    assert caught.value.exit_code == 1
    assert "--restart" in caught.value.fix


def test_settings_that_were_edited_by_hand_are_named(tmp_path: Path) -> None:
    known: dict[str, Any] = json.loads(json_text(RECORD, root=Path("/r")))
    known["settings"]["lora_rank"] = "eight"
    (tmp_path / "run.json").write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(DataError, match="lora_rank"):
        read_record(RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("text", "which"),
    [('{"stages": {}}', "an older"), (f'{{"schema": {SCHEMA + 1}}}', "a newer")],
)
def test_the_record_of_another_version_says_what_can_be_done_with_the_run(
    tmp_path: Path, text: str, which: str
) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"is the record of {which} version") as caught:
        read_record(RunFolder(tmp_path))
    assert f"--adapter_name_or_path {tmp_path}" in caught.value.fix


@pytest.mark.parametrize(("part", "name"), [("chosen", "method"), ("rows", "stage")])
def test_a_plan_of_a_method_that_is_none_is_named(tmp_path: Path, part: str, name: str) -> None:
    """It ended as a bug while the page was written."""
    planned = Done(inputs="i", began=1.0, seconds=2.0, result=plan().plan)
    text = json_text(replace(RECORD, stages=Stages(plan=planned)), root=tmp_path)
    known = json.loads(text)
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    assert read_record(RunFolder(tmp_path)) is not None
    known["stages"]["plan"]["result"][part][name] = "x"
    (tmp_path / "run.json").write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(DataError, match="names a method or stage"):
        read_record(RunFolder(tmp_path))
