"""From a run's folder to the facts of its page."""

import json
from pathlib import Path

import pytest

from fine_tuning.report import collect, write_report
from fine_tuning.report.scores import verdict


def test_scores_of_other_rows_are_not_compared(tmp_path: Path) -> None:
    """Continued with another --score_samples, the two scores are of two sets of rows."""
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    scores = {
        "before": {"metrics": {"loss": 3.0, "n": 2}, "samples": []},
        "after": {"metrics": {"loss": 2.0, "n": 37}, "samples": []},
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    (score,) = collect(tmp_path).scores
    assert (score.before, score.after, score.n) == (None, 2.0, 37)


def test_an_interrupted_run_has_not_failed(tmp_path: Path) -> None:
    failure = {"what": "Stopped, and a checkpoint is saved.", "why": "", "fix": "continue"}
    record = {"status": "interrupted", "failure": failure}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert verdict(collect(tmp_path)).headline == "Stopped before the end"


@pytest.mark.parametrize(
    ("proof", "sentences"),
    [
        (
            {
                "proved": True,
                "rows": 4,
                "agreement": 0.998,
                "max_logit_difference": 0.2,
                "mean_logit_difference": 0.0012,
                "moved_by_training": 0.53,
            },
            ["answers like base + adapter", "99.8% of the positions of 4 rows", "0.001", "0.5"],
        ),
        (
            {"proved": False, "reason": "full training leaves a whole model"},
            ["not compared with base + adapter: full training leaves a whole model."],
        ),
    ],
)
def test_the_page_says_whether_the_merged_model_was_proved(
    tmp_path: Path, proof: dict[str, object], sentences: list[str]
) -> None:
    """A comparison that was left out was told to nobody."""
    merge = {"state": "done", "result": {"path": str(tmp_path), "proof": proof}}
    train = {"state": "done", "result": {}}
    record = {"status": "done", "stages": {"train": train, "merge": merge}}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    page = write_report(tmp_path, collect(tmp_path)).read_text(encoding="utf-8")
    assert (">proved<" in page) == proof["proved"]
    assert (">not proved<" in page) != proof["proved"]
    for sentence in sentences:
        assert sentence in page
