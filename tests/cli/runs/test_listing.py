"""`runs`: every run is a line, also one that cannot be read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.runs.listing import run_folders, score_text
from fine_tuning.cli.runs.summary import of_record, summary_of
from fine_tuning.run.folder import RunFolder
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import Failure, Trained
from tests.commands import PROGRAM
from tests.run.records import FINISHED, written

FOREIGN: Sequence[str] = ("{", "[]", '{"schema": 1}', '{"entry": "wandb"}', '"text"', "\xff")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    written(FINISHED, folder / "good")
    return folder


def test_a_run_is_a_line_with_its_scores(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    titles = ("run", "state", "model", "data", "method", "before -> after", "took", "began")
    assert head.split() == " ".join(titles).split()
    assert line.split()[:6] == ["good", "done", "base", "rows.jsonl", "lora", "right"]
    assert "right 0% -> 75%" in line and "0:06" in line


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"loss": 1.5, "exact_match": 0.0, "n": 4.0}, "loss ? -> 1.5"),
        ({"reward_accuracy": 0.8, "exact_match": 0.5, "comparisons": 4.0}, "accuracy ? -> 80%"),
        ({"reward": 0.2, "exact_match": 0.0, "n": 4.0}, "reward ? -> 0.2"),
        ({"n": 4.0}, ""),
    ],
)
def test_the_score_that_says_most_stands_for_a_run(
    metrics: dict[str, float | None], says: str
) -> None:
    trained = Done(inputs="", began=1.0, seconds=1.0, result=Trained(epochs=1.0, after=metrics))
    found = of_record(Path("/r"), replace(FINISHED, stages=Stages(train=trained)))
    assert score_text(found).endswith(says) and bool(score_text(found)) == bool(says)


@pytest.mark.parametrize("text", FOREIGN)
def test_a_damaged_or_foreign_record_is_a_line_and_no_crash(
    runs: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = runs / "bad"
    bad.mkdir()
    (bad / "run.json").write_bytes(text.encode("latin-1"))
    assert cli.main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["bad", "unreadable"]
    assert lines[3].startswith("bad: ") and "run.json" in lines[3]
    assert "good" in lines[1]


def test_a_failed_run_says_why(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(FINISHED, status="failed", failure=Failure(what="The disk is full."))
    written(failed, runs / "full")
    assert cli.main(["runs", str(runs)]) == 0
    assert "full: The disk is full." in capsys.readouterr().out.splitlines()


def test_a_run_whose_process_was_killed_is_not_said_to_be_running(runs: Path) -> None:
    going = written(replace(FINISHED, status="running"), runs / "going")
    (going / "logs").mkdir()
    (going / "logs" / "lock").touch()
    assert summary_of(going).state == "ended"
    with RunFolder(going).held():
        hour_ago = time.time() - 3600
        os.utime(going / "run.json", (hour_ago, hour_ago))
        found, done = summary_of(going), summary_of(runs / "good")
        assert found.state == "running"
        assert 3600 <= found.seconds - done.seconds < 3700, "also of the stage that is at work"
    assert summary_of(going).state == "ended"


def test_only_runs_are_found_and_nothing_inside_of_them(runs: Path) -> None:
    written(FINISHED, runs / "good" / "dataset" / "x")
    written(FINISHED, runs / "good" / "node-1")
    written(FINISHED, runs / ".hidden" / "x")
    written(FINISHED, runs / "deeper" / "in" / "here")
    found = {str(path.relative_to(runs)) for path in run_folders(runs)}
    assert found == {"good", "good/node-1", "deeper/in/here"}


def test_the_object_names_what_is_not_known_as_null(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = RunRecord(created=time.time(), command="run", settings=FINISHED.settings)
    written(begun, runs / "new")
    trained = Done(inputs="", began=0.0, seconds=1.0, result=Trained(epochs=1.0, after={"n": 2.0}))
    written(replace(begun, created=2.0, stages=Stages(train=trained)), runs / "old")
    assert cli.main(["runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]["runs"]
    assert [Path(it["path"]).name for it in found] == ["new", "old", "good"]
    assert (found[0]["rows"], found[0]["scores"], found[1]["scored_rows"]) == (None, {}, 2)


def test_a_directory_that_is_not_there_is_said(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["runs", "no_such"]) == 2
    assert "There is no directory no_such." in capsys.readouterr().err


def test_it_answers_without_what_takes_long_to_import(runs: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(PROGRAM), "runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "good" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "msgspec" in modules
    assert modules.isdisjoint({"torch", "transformers", "llamafactory", "numpy", "pyarrow"})
