"""Answers of an online training come in whole groups, whatever the rows and the batch are."""

from typing import Any

import pytest

from fine_tuning.engine.plan.groups import Grouping
from fine_tuning.errors import UsageError
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import Made, plan


def online(stage: str = "grpo", rows: int = 1000, batch: int | None = None, **given: Any) -> Made:
    spec = RunSpec(stage=stage, reward=("exact_match",), batch_size=batch, engine_args=given)
    return plan(spec, stage=stage, train=rows)


def grouped(made: Made) -> tuple[int, int, int]:
    """Answers per update, answers a group, groups per update."""
    chosen, trl = made.plan.chosen, made.settings["online"]["trl"]
    answers = chosen.batch * chosen.accumulation * chosen.world
    assert answers % trl["num_generations"] == 0
    return answers, trl["num_generations"], answers // trl["num_generations"]


def test_usual_groups() -> None:
    assert grouped(online()) == (64, 8, 8)
    assert grouped(online("rloo")) == (32, 4, 8)
    assert grouped(online(rows=80)) == (16, 8, 2)
    assert grouped(online(rows=10)) == (8, 8, 1)


@pytest.mark.parametrize("batch", [1, 3, 8, 16])
@pytest.mark.parametrize("group", [2, 6, 8])
def test_groups_are_whole_with_any_batch(batch: int, group: int) -> None:
    answers, _, groups = grouped(online(batch=batch, num_generations=group))
    assert groups >= 1 and answers >= batch


def test_what_is_given_to_trl_stays() -> None:
    trl = online(beta=0.0, max_completion_length=99, loss_type="grpo").settings["online"]["trl"]
    assert (trl["beta"], trl["max_completion_length"], trl["loss_type"]) == (0.0, 99, "grpo")


def test_llamafactory_gets_none_of_it() -> None:
    settings = online(beta=0.1).settings
    assert not {"beta", "num_generations", "eval_dataset", "eval_strategy"} & settings.keys()
    assert settings["stage"] == "grpo"


@pytest.mark.parametrize("iterations", [1, 2])
def test_prompts_that_do_not_fill_a_sampling_make_no_update(iterations: int) -> None:
    """As TRL's trainer counts: tests/engine/worker/online/test_run.py."""
    groups = Grouping(group=4, prompts=2, world=1, rows=13, iterations=iterations)
    assert groups.accumulation(4) == 2
    assert groups.updates(4, 2) == 6 * iterations


def test_answers_that_make_no_whole_groups_are_refused() -> None:
    with pytest.raises(UsageError, match=r"6 answers .* no whole groups of 8"):
        online(batch=2, gradient_accumulation_steps=3)


def test_more_prompts_at_once_than_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="3 rows to train on are fewer than the 4 prompts"):
        online(rows=3, batch=8, gradient_accumulation_steps=4)


def test_an_evaluation_during_the_training_is_refused() -> None:
    with pytest.raises(UsageError, match="--eval_strategy does not go with --stage grpo"):
        online(eval_strategy="steps")
