"""A stage is done once for the same inputs, and its record is right at every moment."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from fine_tuning.errors import DataError, Interrupted
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.run.run import Run
from fine_tuning.values.record import RunRecord, Stages
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """A stage that counts how often it is done."""

    name: ClassVar[str] = "model"
    wanted: str
    there: bool = True
    done: list[str] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    def inputs(self) -> tuple[Any, ...]:
        return (self.wanted,)

    def holds(self, known: BaseModel) -> bool:
        return self.there

    def do(self, screen: Any) -> BaseModel:
        self.done.append(self.wanted)
        return BaseModel(name=self.wanted, location=f"/{self.wanted}")

    def tell(self, result: BaseModel, screen: Any, *, known: bool) -> None:
        self.told.append(known)


def run_in(path: Path, **known: Any) -> Run:
    folder = RunFolder(path)
    record = RunRecord(created=0.0, command="", settings=RunSpec(output_dir=path), **known)
    accepted = record.begun is None
    return Run(folder=folder, screen=SimpleNamespace(), record=record, accepted=accepted)


def again(path: Path) -> Run:
    record = read_record(RunFolder(path))
    assert record is not None
    return Run(folder=RunFolder(path), screen=SimpleNamespace(), record=record, accepted=True)


def test_a_stage_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    stage = Fetch(wanted="a")
    first = run_in(tmp_path).once(stage)
    assert again(tmp_path).once(stage) == first == BaseModel(name="a", location="/a")
    assert (stage.done, stage.told) == (["a"], [False, True])
    other = Fetch(wanted="b")
    again(tmp_path).once(other)
    assert other.done == ["b"]


def test_a_stage_whose_files_have_gone_is_done_again(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.once(Fetch(wanted="a"))
    lost = Fetch(wanted="a", there=False)
    assert run.known(lost) is None
    run.once(lost)
    assert lost.done == ["a"]


def test_a_stage_that_failed_is_not_recorded(tmp_path: Path) -> None:
    class Failing(Fetch):
        def do(self, screen: Any) -> BaseModel:
            raise DataError("no")

    run = run_in(tmp_path)
    with pytest.raises(DataError):
        run.once(Failing(wanted="a"))
    assert run.record.stages == Stages()


def test_every_stage_says_how_long_it_took(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.once(Fetch(wanted="a"))
    assert list(again(tmp_path).record.stages.seconds) == ["model"]


def test_a_training_that_begins_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    run = run_in(tmp_path, attempted=True)
    run.begin_training({"num_train_epochs": 2.0, "save_only_model": True})
    known = again(tmp_path).record
    assert known.begun == {"num_train_epochs": 2.0, "save_only_model": True}
    assert not known.is_trained and not known.attempted


@pytest.mark.parametrize(
    ("error", "status"),
    [(Interrupted("Stopped.", fix="go on"), "interrupted"), (DataError("no"), "failed")],
)
def test_a_run_says_why_it_stopped(tmp_path: Path, error: Any, status: str) -> None:
    run_in(tmp_path).fail(error)
    known = again(tmp_path).record
    assert known.status == status
    assert known.failure is not None and known.failure.what == error.what


def test_the_time_of_a_stage_that_was_ended_is_counted(tmp_path: Path) -> None:
    class Ended:
        name: ClassVar[str] = "split"

        def inputs(self) -> tuple[Any, ...]:
            return ()

        def holds(self, known: Any) -> bool:
            return True

        def do(self, screen: Any) -> Any:
            raise Interrupted("Stopped.", fix="go on")

        def tell(self, result: Any, screen: Any, *, known: bool) -> None:
            raise AssertionError

    run = run_in(tmp_path, unfinished={"split": 60.0})
    with pytest.raises(Interrupted) as stopped:
        run.once(Ended())
    run.fail(stopped.value)
    assert again(tmp_path).record.unfinished["split"] >= 60.0
