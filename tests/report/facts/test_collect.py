"""From a run's record and folder to the facts of its page."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fine_tuning.report import collect, write_report
from fine_tuning.report.facts.collect import loading_facts
from fine_tuning.report.told.scores import verdict
from fine_tuning.values.plan import Plan
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import Failure, Merged, Proof, Trained
from fine_tuning.values.spec import RunSpec


def record(**known: Any) -> RunRecord:
    return RunRecord(created=0.0, command="", settings=RunSpec(), **known)


def test_scores_of_other_rows_are_not_compared(tmp_path: Path) -> None:
    """Continued with another --score_samples, the two scores are of two sets of rows."""
    scores = {
        "before": {"metrics": {"loss": 3.0, "n": 2}, "samples": []},
        "after": {"metrics": {"loss": 2.0, "n": 37}, "samples": []},
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    (score,) = collect(tmp_path, record()).scores
    assert (score.before, score.after, score.n) == (None, 2.0, 37)


def test_an_interrupted_run_has_not_failed(tmp_path: Path) -> None:
    failure = Failure(what="Stopped, and a checkpoint is saved.", fix="continue")
    facts = collect(tmp_path, record(status="interrupted", failure=failure))
    assert verdict(facts).headline == "Stopped before the end"


def test_an_interrupted_run_counts_all_its_time_and_says_how_far_it_came(tmp_path: Path) -> None:
    """It had taken the seconds of reading the data, and nobody saw of how many steps."""
    (tmp_path / "checkpoint-6").mkdir()
    (tmp_path / "checkpoint-6" / "trainer_state.json").write_text("{}")
    facts = collect(tmp_path, record(status="interrupted", unfinished={"train": 95.0}))
    assert facts.durations == {"train, stopped": 95.0}
    facts = replace(facts, steps=113)
    assert verdict(facts).detail == "6 of 113 steps are saved. The same command continues it."
    assert "6 of 113" in write_report(tmp_path, facts).read_text(encoding="utf-8")


def test_a_merged_checkpoint_is_told_from_the_end_of_the_training(tmp_path: Path) -> None:
    """`export --checkpoint 40`: the scores of the page are those of the end."""
    (tmp_path / "merged").mkdir()
    merged = Merged(path=tmp_path / "merged", dtype="float32", bytes=1, checkpoint="checkpoint-40")
    done = Stages(merge=Done(inputs="", began=0.0, seconds=0.0, result=merged))
    facts = collect(tmp_path, record(stages=done))
    assert [it.what for it in facts.artefacts] == [
        "the merged model, of checkpoint-40, not the end of the training"
    ]
    assert "取自 checkpoint-40" in write_report(tmp_path, facts, "zh").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("proof", "sentences"),
    [
        (
            Proof(
                proved=True,
                rows=4,
                agreement=0.998,
                mean_logit_difference=0.0012,
                moved_by_training=0.53,
            ),
            ["answers like base + adapter", "99.8% of the positions of 4 rows", "0.001", "0.5"],
        ),
        (
            Proof(proved=False, reason="full training leaves a whole model"),
            ["not compared with base + adapter: full training leaves a whole model."],
        ),
    ],
)
def test_the_page_says_whether_the_merged_model_was_proved(
    tmp_path: Path, proof: Proof, sentences: list[str]
) -> None:
    """A comparison that was left out was told to nobody."""
    merged = Merged(path=tmp_path, dtype="float32", bytes=1, proof=proof)
    stages = Stages(
        train=Done(inputs="", began=0.0, seconds=1.0, result=Trained(epochs=1.0)),
        merge=Done(inputs="", began=0.0, seconds=1.0, result=merged),
    )
    facts = collect(tmp_path, record(status="done", stages=stages))
    page = write_report(tmp_path, facts).read_text(encoding="utf-8")
    assert (">proved<" in page) == proof.proved
    assert (">not proved<" in page) != proof.proved
    for sentence in sentences:
        assert sentence in page


def test_paths_are_shown_as_people_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the folder that one works in they are relative; only code to copy needs them whole."""
    run = tmp_path / "runs" / "one"
    (run / "dataset").mkdir(parents=True)
    (run / "train.yaml").touch()
    monkeypatch.chdir(tmp_path)
    facts = collect(run, record())
    assert [item.path for item in facts.artefacts] == ["runs/one/train.yaml", "runs/one/dataset"]
    assert facts.log == "runs/one/logs/engine.log"


@pytest.mark.parametrize(
    ("method", "stage", "wishes", "alone"),
    [
        ("lora", "sft", {}, True),
        ("full", "rm", {}, True),
        ("vera", "sft", {}, False),
        ("lora", "grpo", {}, False),
        ("lora", "sft", {"target_parameters": ("experts",)}, False),
    ],
)
def test_a_training_by_hand_is_shown_where_llama_factory_alone_can(
    method: str, stage: str, wishes: dict[str, Any], alone: bool, tmp_path: Path
) -> None:
    """The page gave a command that LLaMA-Factory refuses."""
    (tmp_path / "train.yaml").touch()
    made = cast(
        Plan,
        SimpleNamespace(chosen=SimpleNamespace(method=method), rows=SimpleNamespace(stage=stage)),
    )
    found = loading_facts(tmp_path, RunSpec(**wishes), made)["train_yaml"]
    assert found == (tmp_path / "train.yaml" if alone else None)
