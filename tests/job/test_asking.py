"""What is asked of which worker."""

import pytest

from fine_tuning.engine.plan.values import Plan
from fine_tuning.job.asking import needs_fresh_worker


@pytest.mark.parametrize(
    ("settings", "fresh"),
    [
        ({"lora_rank": 8}, False),
        ({"enable_liger_kernel": False}, False),
        ({"enable_liger_kernel": True}, True),
        ({"use_unsloth": True}, True),
    ],
)
def test_merge_and_proof_do_not_run_in_a_patched_process(
    settings: dict[str, object], fresh: bool
) -> None:
    plan = Plan(settings=settings, worker_settings={}, choices=(), steps=1, launch={}, memory=None)
    assert needs_fresh_worker(plan) is fresh
