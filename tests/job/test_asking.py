"""What the worker is asked."""

from pathlib import Path

import pytest

from fine_tuning.engine.plan.values import Plan
from fine_tuning.job import asking
from tests.job.jobs import make_job


def plan_of(**settings: object) -> Plan:
    return Plan(
        settings={"model_name_or_path": "/m", "finetuning_type": "lora", **settings},
        worker_settings={},
        choices=(),
        steps=1,
        launch={},
        memory=None,
    )


@pytest.mark.parametrize("new", [True, False])
def test_the_score_before_is_that_of_base_and_given_adapters(tmp_path: Path, new: bool) -> None:
    """Under torchrun it was that of the bare base model; in one process it was not."""
    job, plan = make_job(tmp_path), plan_of(adapter_name_or_path="/a,/b", create_new_adapter=new)
    before = asking.inference_settings(job, plan, tuned=False)
    after = asking.inference_settings(job, plan, tuned=True)
    assert (before["finetuning_type"], before["adapter_name_or_path"]) == ("lora", "/a,/b")
    trained_from = "/a,/b" if new else "/a"
    assert after["adapter_name_or_path"] == f"{trained_from},{tmp_path}"


def test_without_adapters_the_score_before_is_that_of_the_base_model(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    for method in ("lora", "full"):
        plan = plan_of(finetuning_type=method)
        assert asking.inference_settings(job, plan, tuned=False) == {"model_name_or_path": "/m"}
    after = asking.inference_settings(job, plan_of(finetuning_type="full"), tuned=True)
    assert after == {"model_name_or_path": str(tmp_path), "finetuning_type": "full"}
