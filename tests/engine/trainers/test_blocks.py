"""How many blocks of text the engine must have, from the lengths of the rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fine_tuning.engine.trainers.blocks import blocks_of, expected, training_lengths
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.stages.planned import places_of
from fine_tuning.values.data import SplitData


@pytest.mark.parametrize(
    ("lengths", "batch", "processes", "blocks"),
    [
        ([10, 10, 10], 1000, 1, 3),  # 30 tokens, 6 are left over
        ([10, 10, 10], 1, 1, 3),  # 2 are left over of each row
        ([10, 10, 10, 7], 2, 1, 4),  # 20 and 17 tokens
        ([10, 10, 10, 14], 1000, 1, 5),
        ([10, 10, 10, 14], 1000, 3, 4),  # 20, 10 and 14 tokens
        ([10, 10, 10, 14], 1000, 9, 4),  # no more processes than rows
        ([7], 1000, 1, 0),
    ],
)
def test_what_is_left_over_of_a_batch_of_rows_is_no_block(
    lengths: list[int], batch: int, processes: int, blocks: int
) -> None:
    assert blocks_of(np.array(lengths, np.uint32), 8, batch, processes) == blocks


def test_the_lengths_of_the_training_rows_are_picked_from_those_of_all(tmp_path: Path) -> None:
    np.array([5, 6, 7, 8], "<u4").tofile(tmp_path / "lengths.u32")
    np.array([0, 2, 3], "<u4").tofile(tmp_path / "train.numbers")
    parts = SplitData(train_path=tmp_path / "train.jsonl", val_path=None, train_rows=3, val_rows=1)
    assert training_lengths(tmp_path / "lengths.u32", parts).tolist() == [5, 7, 8]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_worker_is_told_how_text_is_streamed(tmp_path: Path, streaming: bool) -> None:
    np.array([9, 20, 30], "<u4").tofile(tmp_path / "lengths.u32")
    np.array([1, 2], "<u4").tofile(tmp_path / "train.numbers")
    parts = SplitData(train_path=tmp_path / "train.jsonl", val_path=None, train_rows=2, val_rows=1)
    settings = {"stage": "pt", "cutoff_len": 8, "seed": 1, "dataloader_num_workers": 2}
    made = TrainSettings(by_hand={**settings, "streaming": streaming})
    found = expected(made, parts, replace(places_of(tmp_path / "run", "/m"), dataset_dir=tmp_path))
    if not streaming:
        assert found == {"count": 6, "unit": "blocks"}
        return
    assert (found["count"], found["workers"]) == (None, 2)
    assert np.fromfile(found["stream"]["lengths_path"], "<u4").tolist() == [20, 30]
