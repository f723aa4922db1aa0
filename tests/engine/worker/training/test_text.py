"""Text for continued pretraining fills the blocks that were prepared."""

from pathlib import Path

import pytest

from tests.trainings import encoded_count, planned, train_here

pytestmark = pytest.mark.engine


def test_packing_that_is_asked_for_is_the_packing_of_text(tiny_model: Path, tmp_path: Path) -> None:
    """113 blocks were prepared and 114 encoded, so nothing was trained."""
    plan = planned(tmp_path, tiny_model, "pt", engine_args={"packing": True})
    trained = train_here(tmp_path, plan)
    assert trained["encoded"] == encoded_count(plan)
