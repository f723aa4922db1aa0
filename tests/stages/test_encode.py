"""Rows that are encoded ahead of the training."""

import pytest

from fine_tuning.errors import DataError
from fine_tuning.stages.encode import refuse_untrained
from fine_tuning.values.results import Encoded


def test_rows_that_would_train_nothing_are_refused() -> None:
    encoded = Encoded(rows={"train": 9}, untrained={"train": 9})
    with pytest.raises(DataError, match="In none of the 9 rows is anything trained"):
        refuse_untrained(encoded)
    refuse_untrained(Encoded(rows={"train": 9}, untrained={"train": 8}))
