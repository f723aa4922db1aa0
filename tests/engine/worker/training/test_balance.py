"""The engine's own count against what was prepared for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from fine_tuning.engine.worker.training.balance import Expected, Stream, encoded, require_all
from fine_tuning.errors import EngineError

# Two blocks of nine positions: three rows of 3, 2 and 2 tokens, then one of 8; the rest is padding.
PACKED = Dataset.from_dict(
    {"position_ids": [[0, 1, 2, 0, 1, 0, 1, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 0]]}
)
PLAIN = Dataset.from_dict({"input_ids": [[1, 2], [3, 4], [5, 6]]})


def test_rows_are_counted_inside_packed_blocks() -> None:
    assert encoded(PACKED, Expected("rows"), print) == 4
    assert encoded(PACKED, Expected("blocks"), print) == 2
    assert encoded(PLAIN, Expected("rows"), print) == 3


def test_a_lost_row_stops_the_training() -> None:
    assert require_all(PACKED, Expected("rows", 4)) == 4
    with pytest.raises(EngineError) as caught:
        require_all(PACKED, Expected("rows", 5))
    assert caught.value.what == "5 rows were prepared, but LLaMA-Factory encoded 4."


def test_a_repeated_block_stops_the_training() -> None:
    with pytest.raises(EngineError) as caught:
        require_all(PLAIN, Expected("blocks", 2))
    assert caught.value.what == "2 blocks were prepared, but LLaMA-Factory encoded 3."


def streamed(dataset: Dataset, shards: int) -> Any:
    return dataset.to_iterable_dataset(num_shards=shards)


@pytest.mark.parametrize("workers", [1, 2])
def test_streamed_rows_are_counted_in_one_pass(workers: int) -> None:
    told: list[int] = []
    assert encoded(streamed(PLAIN, workers), Expected("rows", 3, workers), told.append) == 3
    assert encoded(streamed(PACKED, workers), Expected("rows", 4, workers), print) == 4
    assert told == [1]
    with pytest.raises(EngineError, match="4 rows were prepared, but LLaMA-Factory encoded 3"):
        require_all(streamed(PLAIN, workers), Expected("rows", 4, workers))


def test_blocks_of_streamed_text_depend_on_who_reads_which_texts(tmp_path: Path) -> None:
    """One reader joins all texts; two drop a rest each."""
    path = tmp_path / "train.lengths"
    np.array([10, 10, 10, 7], "<u4").tofile(path)

    def blocks(workers: int, batch: int = 1000) -> int:
        return Stream(str(path), 8, batch, buffer=2, seed=42, workers=workers).blocks()

    assert blocks(1) == 37 // 8
    assert blocks(2) == 20 // 8 + 17 // 8
    assert blocks(1, batch=1) == 3
