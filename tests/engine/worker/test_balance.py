"""The engine's own count against what was prepared for it."""

import pytest
from datasets import Dataset

from fine_tuning.engine.worker.balance import Expected, encoded, require_all
from fine_tuning.errors import EngineError

# Two blocks of nine positions: three rows of 3, 2 and 2 tokens, then one of 8; the rest is padding.
PACKED = Dataset.from_dict(
    {"position_ids": [[0, 1, 2, 0, 1, 0, 1, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 0]]}
)
PLAIN = Dataset.from_dict({"input_ids": [[1, 2], [3, 4], [5, 6]]})


def test_rows_are_counted_inside_packed_blocks() -> None:
    assert encoded(PACKED, "rows") == 4
    assert encoded(PACKED, "blocks") == 2
    assert encoded(PLAIN, "rows") == 3


def test_a_lost_row_stops_the_training() -> None:
    assert require_all(PACKED, Expected(4, "rows")) == 4
    with pytest.raises(EngineError) as caught:
        require_all(PACKED, Expected(5, "rows"))
    assert caught.value.what == "5 rows were prepared, but LLaMA-Factory encoded 4."


def test_a_repeated_block_stops_the_training() -> None:
    with pytest.raises(EngineError) as caught:
        require_all(PLAIN, Expected(2, "blocks"))
    assert caught.value.what == "2 blocks were prepared, but LLaMA-Factory encoded 3."
