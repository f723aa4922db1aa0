"""The check is done again exactly if the data, or what its rows name, has changed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.dataset.prepare.media_files import media_state
from fine_tuning.errors import RunConflict
from fine_tuning.stages.preparing.check import Check
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec, RunSpec
from tests.dataset.rows_on_disk import PIXEL, account, messages


def screen(said: list[str]) -> Any:
    def nothing(*values: Any, **named: Any) -> None:
        pass

    return SimpleNamespace(
        say=said.append, begin=nothing, advance=nothing, end=nothing, problems=nothing
    )


@pytest.mark.parametrize(
    ("finished", "lost", "again"),
    [
        (False, "changed", True),
        (False, "gone", True),
        (True, "changed", True),
        (True, "gone", False),  # it can be merged still
        (False, "nothing", False),
    ],
)
def test_rows_are_checked_again_if_their_pictures_are_others(
    tmp_path: Path, finished: bool, lost: str, again: bool
) -> None:
    """A finished training went on with other pictures if more epochs were asked."""
    picture = tmp_path / "a.gif"
    picture.write_bytes(PIXEL)
    row = {**messages(("user", "<image>What?"), ("assistant", "Red.")), "images": ["a.gif"]}
    data = account(tmp_path, [row])
    data = replace(data, media=media_state(data))
    if lost == "gone":
        picture.unlink()
    elif lost == "changed":
        picture.write_bytes(PIXEL + b"\0")
    stage = Check(spec=RunSpec(), dataset=tmp_path, trained_on=data, is_finished=finished)
    assert stage.holds(data) != again


def rows(path: Path, answer: str) -> RunSpec:
    path.write_text(f'{{"instruction": "q", "output": "{answer}"}}\n', encoding="utf-8")
    return RunSpec(data=DataSpec(dataset_path=(str(path),)))


def checked(tmp_path: Path, answer: str, before: CheckedData | None = None) -> CheckedData:
    spec = rows(tmp_path / "d.jsonl", answer)
    stage = Check(spec=spec, dataset=tmp_path / "run" / "dataset", trained_on=before)
    return stage.do(screen([]))


def test_other_rows_than_those_that_are_trained_leave_the_old_ones_untouched(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    before = checked(tmp_path, "one")
    kept = before.rows_path.read_bytes()
    with pytest.raises(RunConflict, match="was trained on other rows: 1 then, 1 now"):
        checked(tmp_path, "two", before)
    assert before.rows_path.read_bytes() == kept
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dataset"]


def test_rows_whose_files_have_gone_are_trained_on_as_prepared(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    before = checked(tmp_path, "one")
    (tmp_path / "d.jsonl").unlink()
    spec = RunSpec(data=DataSpec(dataset_path=(str(tmp_path / "d.jsonl"),)))
    stage = Check(spec=spec, dataset=tmp_path / "run" / "dataset", trained_on=before)
    said: list[str] = []
    assert stage.do(screen(said)) == before
    assert "has gone: the rows that were prepared from it are used" in said[0]


@pytest.mark.parametrize(("stage", "read"), [("grpo", True), ("sft", False), (None, False)])
def test_prompts_alone_are_read_for_rewards_only(
    stage: str | None, read: bool, tmp_path: Path
) -> None:
    check = Check(spec=RunSpec(stage=stage), dataset=tmp_path)
    assert check.read_as.allow_unanswered == read


def test_how_many_rows_are_left_out_is_said_with_the_limit_and_where_they_lie(
    tmp_path: Path,
) -> None:
    data = account(tmp_path, [{"instruction": "q", "output": "a"}, {"instruction": "r"}])
    said: list[str] = []
    spec = RunSpec(data=DataSpec(max_bad_rows=0.6))
    Check(spec=spec, dataset=tmp_path).tell(data, screen(said), known=False)
    assert said == [
        "1 row of 2 (50%) are left out, at most 60% may be (--max_bad_rows); those to mend lie in"
        f" {data.rejected_path}"
    ]
