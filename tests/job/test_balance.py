"""How many blocks of text the engine must have, from the lengths of the rows."""

from pathlib import Path

import numpy as np
import pytest

from fine_tuning.dataset.types import SplitData
from fine_tuning.job.balance import blocks_of, training_lengths


@pytest.mark.parametrize(
    ("lengths", "cutoff", "batch", "blocks"),
    [
        ([10, 10, 10], 8, 1000, 3),  # 30 tokens, 6 are left over
        ([10, 10, 10], 8, 1, 3),  # 2 are left over of each row
        ([10, 10, 10, 7], 8, 2, 4),  # 20 and 17 tokens
        ([7], 8, 1000, 0),
    ],
)
def test_what_is_left_over_of_a_batch_of_rows_is_no_block(
    lengths: list[int], cutoff: int, batch: int, blocks: int
) -> None:
    assert blocks_of(np.array(lengths, np.uint32), cutoff, batch) == blocks


def test_the_lengths_of_the_training_rows_are_picked_from_those_of_all(tmp_path: Path) -> None:
    np.array([5, 6, 7, 8], "<u4").tofile(tmp_path / "lengths.u32")
    np.array([0, 2, 3], "<u4").tofile(tmp_path / "train.numbers")
    parts = SplitData(train_path=tmp_path / "train.jsonl", val_path=None, train_rows=3, val_rows=1)
    assert training_lengths(tmp_path / "lengths.u32", parts).tolist() == [5, 7, 8]
