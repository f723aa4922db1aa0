"""`runs watch`: what another process does is seen, and is not disturbed."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.runs import watch
from fine_tuning.run.folder import RunFolder
from fine_tuning.values.codec import json_text
from fine_tuning.values.record import Done, RunRecord
from fine_tuning.values.results import Failure
from tests.engine.plan.plans import plan
from tests.run.records import FINISHED, written

PLANNED = Done(inputs="p", began=1.0, seconds=0.0, result=plan().plan)
GOING = replace(
    FINISHED,
    status="running",
    begun={"seed": 42},
    stages=replace(FINISHED.stages, plan=PLANNED, train=None),
)
DONE = replace(FINISHED, stages=replace(FINISHED.stages, plan=PLANNED))


def log(run: Path, *steps: int) -> None:
    with (run / "trainer_log.jsonl").open("a", encoding="utf-8") as file:
        for step in steps:
            entry = {"current_steps": step, "total_steps": 4, "loss": 1.0 / step, "lr": 1e-4}
            file.write(json.dumps(entry) + "\n")


@pytest.fixture
def going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(watch, "EVERY_S", 0.01)
    run = written(GOING, tmp_path / "run")
    log(run, 1)
    return run


def at_work(run: Path, until: Callable[[], object]) -> threading.Thread:
    """Somebody who holds the run until `until` has returned."""
    held = threading.Event()

    def work() -> None:
        with RunFolder(run).held():
            held.set()
            until()

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    return thread


def save(run: Path, record: RunRecord) -> None:
    other = run / "new.json"
    other.write_text(json_text(record, root=run), encoding="utf-8")
    other.replace(run / "run.json")


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [
        (DONE, 0, "The run is done."),
        (
            replace(GOING, status="failed", failure=Failure(what="The disk is full.", fix="free")),
            1,
            "The disk is full.\nnext: free\n",
        ),
        (replace(GOING, status="interrupted"), 130, "The run is interrupted."),
        (GOING, 1, "Its process has gone without a word"),
    ],
    ids=["done", "failed", "interrupted", "killed"],
)
def test_a_run_is_followed_to_its_end_and_gives_its_exit_code(
    going: Path, end: RunRecord, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def until() -> None:
        time.sleep(0.1)
        log(going, 2, 3, 4)
        time.sleep(0.1)
        save(going, end)

    thread = at_work(going, until)
    assert cli.main(["runs", "watch", str(going)]) == code
    thread.join()
    said = capsys.readouterr().out
    for step, loss in ((1, 1.0), (4, 0.25)):
        assert f"{step}/4 steps  loss {loss:.4f}" in said
    assert says in said


def test_what_was_logged_before_somebody_watched_takes_no_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The speed was told from lines that were read at once: 0:00 left, of hours."""
    run = written(GOING, tmp_path / "run")
    log(run, 1, 2, 3)
    assert cli.main(["runs", "watch", str(run)]) == 1
    said = capsys.readouterr().out
    assert "3/4 steps  loss 0.3333" in said and "left" not in said
    assert "training: not finished" in said and "training: done" not in said


def test_ctrl_c_ends_the_watching_and_leaves_the_run_alone(
    going: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    thread = at_work(going, lambda: over.wait(20))

    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    before = {path: path.stat().st_mtime_ns for path in going.rglob("*")}
    monkeypatch.setattr(time, "sleep", press)
    assert cli.main(["runs", "watch", str(going), "--json"]) == 130
    out, err = capsys.readouterr()
    assert "The run goes on." in err
    assert json.loads(out)["result"]["state"] == "running"
    assert {path: path.stat().st_mtime_ns for path in going.rglob("*")} == before
    over.set()
    thread.join()


def test_a_log_that_is_begun_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    reading = watch.Log(path)
    assert [*reading.read()] == []
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": ')
    assert [*reading.read()] == [{"a": 1}, {"a": 2}]
    with path.open("a") as file:
        file.write("3}\nbroken\n[]\n")
    assert [*reading.read()] == [{"a": 3}]
    path.write_text('{"a": 4}\n')
    assert [*reading.read()] == [{"a": 4}]
