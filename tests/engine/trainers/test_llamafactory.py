"""What LLaMA-Factory is told means there what is meant here."""

from pathlib import Path

import pytest

from tests.trainings import planned


@pytest.mark.engine
def test_packed_rows_as_long_as_the_cutoff_keep_their_end(tmp_path: Path) -> None:
    """Rows of exactly --max_seq_length tokens lost the last one, which ends the answer."""
    from llamafactory.hparams.data_args import DataArguments

    for packed in (False, True):
        plan = planned(tmp_path, tmp_path, engine_args={"neat_packing": packed})
        told = plan.settings["cutoff_len"]
        data = DataArguments(dataset="train", cutoff_len=told, neat_packing=packed)
        assert data.cutoff_len >= plan.plan.chosen.cutoff == 64
        assert told % 8 == 0
