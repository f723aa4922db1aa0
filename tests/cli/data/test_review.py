"""`validate --ledger RUN`: the rows that stand out, in a file to look through."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning import ledger
from fine_tuning.cli import main as cli
from fine_tuning.ledger import RowLoss
from fine_tuning.values.record import Done
from tests.looks import DATA
from tests.run.records import FINISHED, written


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which one row was never learned, and one held-out row became worse."""
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"conversations": [{i}]}}\n' for i in range(12)))
    data = replace(DATA, rows_path=rows)
    stages = replace(FINISHED.stages, check=Done(inputs="", began=1.0, seconds=1.0, result=data))
    folder = written(replace(FINISHED, stages=stages), tmp_path / "out")
    losses = [(3.0, 0.5)] * 10 + [(3.0, 2.9), (1.0, 2.0)]
    ledger.write(
        folder,
        [
            RowLoss(
                part="validation" if i == 11 else "train",
                row=i % 11,
                kept=i,
                file=str(tmp_path / "数据.jsonl"),
                line=i + 1,
                tokens=5,
                before=before,
                after=after,
                question=f"question {i}",
            )
            for i, (before, after) in enumerate(losses)
        ],
    )
    return folder


def test_rows_that_stand_out_are_listed_and_written_whole(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["validate", "--ledger", "out"]) == 0
    said = capsys.readouterr().out
    assert "never learned: 1 row\n  数据.jsonl:11: loss 3 -> 2.9: question 10" in said
    assert "made worse: 1 row\n  数据.jsonl:12: loss 1 -> 2: question 11" in said
    assert "To look through: out/review.jsonl" in said
    lines = [json.loads(it) for it in (run / "review.jsonl").read_text("utf-8").splitlines()]
    assert [(it["why"], it["line"], it["content"]) for it in lines] == [
        ("never learned", 11, {"conversations": [10]}),
        ("made worse", 12, {"conversations": [11]}),
    ]


def test_a_file_that_somebody_works_in_is_kept(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert cli.main(["validate", "--ledger", "out"]) == 0
    assert not (run / "review.1.jsonl").exists()
    (run / "review.jsonl").write_text("mine", encoding="utf-8")
    assert cli.main(["validate", "--ledger", "out", "--json"]) == 0
    assert (run / "review.1.jsonl").read_text(encoding="utf-8") == "mine"
    out = capsys.readouterr().out.splitlines()[-1]
    assert [it["why"] for it in json.loads(out)["result"]["doubtful"]] == [
        "never learned",
        "made worse",
    ]


def test_what_has_no_ledger_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / ledger.LEDGER).unlink()
    assert cli.main(["validate", "--ledger", "out"]) == 2
    assert "train with --ledger on" in capsys.readouterr().err
    assert cli.main(["validate", "--ledger", "."]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert cli.main(["validate", "--ledger", "out", "--dataset_path", "a.json"]) == 2
    assert "--dataset_path goes with a check" in capsys.readouterr().err
