"""The two parts of the rows: made anew if and only if something that they depend on changed."""

from pathlib import Path

from fine_tuning.dataset.prepare.fit import Fit
from fine_tuning.stages.preparing.split import Fits, Split, outcome_text, outcomes
from fine_tuning.values.codec import fingerprint
from fine_tuning.values.spec import RunSpec
from tests.looks import DATA, look_of


def inputs(**look: object) -> str:
    stage = Split(spec=RunSpec(), data=DATA, look=look_of(**look), dataset=Path("/r/dataset"))
    return fingerprint(*stage.inputs())


def test_a_model_that_makes_other_rows_overlong_splits_anew() -> None:
    """With the same cutoff the old parts stayed, and rows lost their end in the engine."""
    assert inputs(overlong={}) == inputs(overlong={})
    for name in ("overlong", "validation_overlong"):
        assert inputs(overlong={}) != inputs(**{"overlong": {}, name: {"3": [600]}})


def test_what_a_run_makes_of_overlong_rows_is_said() -> None:
    rounds = {0: (90, 200), 1: (200,), 2: (300,)}
    fit = Fit(cutoff=100, keep_rounds={0: 1}, dropped=frozenset({1, 2}), rounds=rounds)
    assert [outcome_text(*found) for found in outcomes(Fits(fit, fit)).items()] == [
        "2 rows: longer than the cutoff, only the rounds that fit are kept",
        "4 rows: longer than the cutoff, dropped",
    ]
    assert outcome_text("overlong", 1) == "1 row: longer than the cutoff, dropped"
