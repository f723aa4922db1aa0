"""`runs compare` at the terminal."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.runs.compare import score_lines
from fine_tuning.report.compare import Change, Comparison, ScoreBeside
from tests.run.records import FINISHED, written


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written(FINISHED, tmp_path / "runs" / "a")
    other = replace(FINISHED.settings, lora_rank=16)
    written(replace(FINISHED, settings=other), tmp_path / "runs" / "b")
    return tmp_path / "runs"


def test_differences_are_printed_and_the_page_is_written(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["runs", "compare", "runs/a", "runs/b"]) == 0
    said = capsys.readouterr().out
    assert "lora_rank  8  16" in said
    assert "The versions are the same." in said
    assert "With the curves over each other: runs/compare.html" in said
    assert (runs / "compare.html").exists()
    assert cli.main(["runs", "compare", "runs/b", "runs/a", "--json"]) == 0, "its own page goes"
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["comparison"]["names"] == ["b", "a"]
    assert [Path(it["path"]).name for it in found["runs"]] == ["b", "a"]


def test_what_is_said_of_every_metric_alike_is_said_once() -> None:
    def score(name: str, *says: str) -> ScoreBeside:
        changes = (None, *(Change(verdict="incomparable", says=it) for it in says))
        texts = ("1", "2", "3")
        return ScoreBeside(name=name, values=(), texts=texts, rows=(), changes=changes)

    scores = (score("Loss", "other rows", "better"), score("BLEU", "other rows", "worse"))
    made = Comparison(
        names=("a", "b", "c"), settings=(), data=(), same_data=False, versions=(), scores=scores
    )
    assert [*score_lines(made)] == [
        "Loss: a 1, b 2, c 3",
        "  c against a: better",
        "BLEU: a 1, b 2, c 3",
        "  c against a: worse",
        "b against a, in all of these: other rows",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runs/a"], 2, "`runs compare` takes two runs or more"),
        (["runs/a", "runs/../runs/a"], 2, "is named twice"),
        (["runs/a", "runs", "gone"], 2, "2 mistakes"),
        (["runs/a", "runs/b", "--page", "mine.html"], 1, "is no comparison of runs"),
        (["runs/a", "runs/cut"], 1, "put a whole copy of it back"),
    ],
)
def test_what_cannot_be_compared_is_said(
    runs: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = runs.parent / "mine.html"
    mine.write_text("<p>mine", encoding="utf-8")
    (runs / "cut").mkdir()
    (runs / "cut" / "run.json").write_text('{"settings": ', encoding="utf-8")
    assert cli.main(["runs", "compare", *words]) == code
    assert message in capsys.readouterr().err
    assert mine.read_text(encoding="utf-8") == "<p>mine"
    assert not (runs / "compare.html").exists()
