"""From a run's folder to the facts of its page."""

import json
from pathlib import Path

from fine_tuning.report import collect
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
