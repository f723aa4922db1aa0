"""`score` says of every row what a reward model gives it, and which one is no reward model."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.eval.score import MARK, lines, summary, write_scores
from fine_tuning.cli.main import main
from fine_tuning.dataset.check import account
from fine_tuning.values.spec import DataSpec


def told(folder: Path, rows: list[dict[str, Any]], rewards: list[tuple[float, ...]]) -> Any:
    """The report, and the lines on the screen, for these rewards."""
    path, report = folder / "rows.jsonl", folder / "scores.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = account(DataSpec(dataset_path=(str(path),)), out_dir=folder / "checked")
    labels = [row.get("label") for row in rows]
    found = summary("judge", data, rewards, labels, report)
    write_scores(report, found, data, rewards, labels)
    assert report.read_bytes().startswith(MARK)
    return json.loads(report.read_text(encoding="utf-8")), lines(found)


def test_of_a_pair_both_answers_and_who_wins(tmp_path: Path) -> None:
    pair = {"prompt": "Where is 罗马?", "chosen": "In Italy.", "rejected": "Nowhere."}
    rows = [{**pair, "prompt": f"{pair['prompt']} {n}"} for n in range(3)]
    report, said = told(tmp_path, rows, [(2.0, 1.0), (0.5, 0.5), (-1.0, float("nan"))])
    scores = report["scores"]
    assert [row["line"] for row in scores] == [1, 2, 3]
    assert (scores[0]["chosen"], scores[0]["rejected"], scores[0]["winner"]) == (2.0, 1.0, "chosen")
    assert scores[1]["winner"] == "tie"
    assert scores[2]["rejected"] is None
    assert said[-1].startswith("Scores: ")
    report, said = told(tmp_path, rows, [(2.0, 1.0), (0.5, 0.5), (0.0, 1.0)])
    assert report["ranked"]["accuracy"] == 0.5 and report["ranked"]["comparisons"] == 3
    assert said[0].startswith("Reward accuracy: 50% (")


def test_of_a_conversation_its_score_and_of_a_rated_one_its_mark(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    report, said = told(tmp_path, [{"messages": turns}], [(0.25,)])
    assert report["scores"][0]["score"] == 0.25 and report["ranked"] is None
    assert said[0] == "Mean reward: 0.25 on 1 row"
    rated = [{"messages": turns, "label": mark} for mark in (True, False)]
    report, said = told(tmp_path, rated, [(1.0,), (0.0,)])
    assert [row["label"] for row in report["scores"]] == [True, False]
    assert report["ranked"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dataset_path", "x.jsonl"], "Name one reward model"),
        (["--model_name_or_path", "m"], "--dataset_path is needed"),
        (["--output_dir", "r", "--dataset_path", "x", "--trust_remote_code"], "changes nothing"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_file_of_somebody_else_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "notes.json"
    other.write_text('{"mine": 1}', encoding="utf-8")
    words = ["--model_name_or_path", "m", "--dataset_path", "x.jsonl", "--report", str(other)]
    assert main(["score", *words]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert other.read_text(encoding="utf-8") == '{"mine": 1}'
