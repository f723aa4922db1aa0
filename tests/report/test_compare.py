"""Runs beside each other: what differs, and scores that are compared only where they can be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.report import compare, write_comparison
from fine_tuning.report.compare import Compared, Comparison, curves_beside
from fine_tuning.values.record import Done, RunRecord
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import RunSpec
from tests.report.examples import curve
from tests.run.records import FINISHED, written

ROWS = 12


def scored(right: int, loss: float, tokens: int = 5) -> dict[str, Any]:
    """Twelve rows, of which the first `right` are answered as expected."""
    samples = [
        {"question": f"q{i}", "expected": f"{i}", "answer": f"{i}" if i < right else "?"}
        for i in range(ROWS)
    ]
    losses = [[(loss + 0.01 * i) * tokens, tokens] for i in range(ROWS)]
    metrics = {"loss": loss, "exact_match": right / ROWS, "n": ROWS}
    return {"metrics": metrics, "losses": losses, "samples": samples}


def compared(
    place: Path,
    name: str,
    after: dict[str, Any],
    *,
    held_out: str = "h",
    record: RunRecord = FINISHED,
) -> Compared:
    """A run with these scores, and a held-out part of that hash."""
    folder = written(record, place / name)
    before = scored(0, 3.0)
    (folder / "scores.json").write_text(json.dumps({"before": before, "after": after}))
    split = folder / "dataset" / "split"
    split.mkdir(parents=True)
    hashes = {
        "algorithm": "xxh3_128",
        "files": {"validation.jsonl": held_out, "train.numbers": "x"},
    }
    (split / "hashes.json").write_text(json.dumps(hashes))
    points = [{"step": it.step, "loss": it.loss, "eval_loss": it.eval_loss} for it in curve(20)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": points}))
    return Compared(name=name, path=folder, record=record)


def verdicts(found: Comparison) -> dict[str, str]:
    changes = {score.name: score.changes[1] for score in found.scores}
    return {name: change.verdict for name, change in changes.items() if change}


def test_a_run_that_is_better_on_the_same_rows_is_said_to_be(tmp_path: Path) -> None:
    a, b = compared(tmp_path, "a", scored(2, 1.0)), compared(tmp_path, "b", scored(10, 0.5))
    found = compare([a, b])
    by_name = {score.name: score for score in found.scores}
    match, loss = by_name["Exact match"], by_name["Loss of the answers"]
    told = ("Exact match", "Loss of the answers", "Perplexity", "chrF", "ROUGE-1")
    assert [verdicts(found)[name] for name in told] == ["better"] * 5
    assert match.changes[0] is None and match.changes[1] and loss.changes[1]
    assert (match.changes[1].gained, match.changes[1].lost) == (8, 0)
    assert loss.changes[1].interval == pytest.approx((-0.5, -0.5))
    turned = verdicts(compare([b, a]))
    assert [turned[name] for name in told] == ["worse"] * 5


def test_a_difference_of_a_row_may_be_chance(tmp_path: Path) -> None:
    a, b = compared(tmp_path, "a", scored(5, 1.0)), compared(tmp_path, "b", scored(6, 1.0))
    found = compare([a, b])
    assert verdicts(found) == dict.fromkeys(verdicts(found), "unsure")
    change = found.scores[0].changes[1]
    assert change and change.says.startswith("may be chance: 1 right only here, 0 only in")


def test_a_run_that_scores_alike_is_said_to_be_the_same(tmp_path: Path) -> None:
    """It was called chance, from +0 to +0."""
    a, b = (compared(tmp_path, name, scored(5, 1.0)) for name in "ab")
    changes = {score.name: score.changes[1] for score in compare([a, b]).scores}
    for name in ("Exact match", "Loss of the answers"):
        change = changes[name]
        assert change and change.says.startswith("the same in each of")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"held_out": "other"}, "scored on other held-out rows"),
        ({"after": scored(9, 0.1, tokens=7)}, "counted in other tokens"),
        ({"after": {}}, "not scored in both"),
    ],
)
def test_scores_that_are_not_of_the_same_are_not_compared(
    tmp_path: Path, other: dict[str, Any], says: str
) -> None:
    a = compared(tmp_path, "a", scored(2, 1.0))
    b = compared(tmp_path, "b", **{"after": scored(9, 0.1), **other})
    found = {score.name: score.changes[1] for score in compare([a, b]).scores}
    loss = found["Loss of the answers"]
    assert loss and (loss.verdict, loss.says) == ("incomparable", says)


def test_settings_versions_and_places(tmp_path: Path) -> None:
    """Where a run lies is no difference of what it trained."""
    spec = replace(FINISHED.settings, output_dir=tmp_path / "a", lora_rank=16)
    spec = replace(spec, engine_args={"lora_dropout": 0.1})
    other = replace(FINISHED, settings=spec, versions={"torch": "2.12.0"})
    a = compared(tmp_path, "a", scored(2, 1.0), record=replace(FINISHED, versions={"torch": "2"}))
    b = compared(tmp_path, "b", scored(2, 1.0), record=other)
    found = compare([a, b])
    assert {it.name: it.values for it in found.settings} == {
        "lora_rank": ("8", "16"),
        "lora_dropout": (None, "0.1"),
    }
    assert [(it.name, it.values) for it in found.versions] == [("torch", ("2", "2.12.0"))]
    assert not found.same_data, "nothing is known of it"


def test_runs_that_stopped_early_are_compared_as_far_as_they_came(tmp_path: Path) -> None:
    begun = RunRecord(created=1.0, command="run", settings=RunSpec())
    runs = [
        Compared(name="new", path=written(begun, tmp_path / "new"), record=begun),
        Compared(name="old", path=written(FINISHED, tmp_path / "old"), record=FINISHED),
    ]
    found = compare(runs)
    assert (found.scores, found.same_data) == ((), False)
    page = write_comparison(tmp_path / "c.html", found, curves_beside(runs))
    assert "new, old" in page.read_text(encoding="utf-8")


def test_the_page_draws_the_curves_over_each_other(tmp_path: Path) -> None:
    a, b = compared(tmp_path, "a", scored(2, 1.0)), compared(tmp_path, "b<i>", scored(9, 0.5))
    page = write_comparison(tmp_path / "c.html", compare([a, b]), curves_beside([a, b]))
    text = page.read_text(encoding="utf-8")
    assert text.count('<path class="curve run-0"') == text.count('<path class="curve run-1"') > 0
    assert "b&lt;i&gt;" in text and "b<i>" not in text


def test_another_model_under_the_same_name_is_a_difference(tmp_path: Path) -> None:
    def with_model(content: str) -> RunRecord:
        base = BaseModel(name="m", location="/m", hashes={"model.safetensors": content})
        done = Done(inputs="", began=1.0, seconds=1.0, result=base)
        return replace(FINISHED, stages=replace(FINISHED.stages, model=done))

    a = compared(tmp_path, "a", scored(2, 1.0), record=with_model("x"))
    b = compared(tmp_path, "b", scored(2, 1.0), record=with_model("y"))
    assert [it.name for it in compare([a, b]).settings] == ["content of the base model"]
