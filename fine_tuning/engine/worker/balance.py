"""Whether LLaMA-Factory encoded all that was prepared for it: the last line of the account."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fine_tuning.errors import EngineError


@dataclass(frozen=True)
class Expected:
    """What the engine must have: training rows, or the blocks that text is packed into."""

    count: int
    unit: Literal["rows", "blocks"]


def encoded(dataset: Any, unit: str) -> int:
    """Rows (before packing) or blocks of an encoded `datasets.Dataset`.

    In a packed block the positions of each row count from 0, and padding is 0 throughout
    (llamafactory/data/processor/supervised.py): a row begins where a 0 is followed by a 1.
    """
    if unit == "blocks" or "position_ids" not in dataset.column_names:
        return len(dataset)
    starts = 0
    for batch in dataset.select_columns(["position_ids"]).with_format("arrow").iter(1000):
        positions = batch["position_ids"].combine_chunks().flatten().to_numpy()
        starts += int(np.count_nonzero((positions[:-1] == 0) & (positions[1:] == 1)))
    return starts


def require_all(dataset: Any, expected: Expected) -> int:
    """The count of what was encoded; raises EngineError if it is not what was prepared.

    Rows that are lost or repeated on the way would train something else, silently.
    """
    found = encoded(dataset, expected.unit)
    if found == expected.count:
        return found
    raise EngineError(
        f"{expected.count:,} {expected.unit} were prepared, but LLaMA-Factory encoded {found:,}.",
        why=f"{expected.unit} were lost or repeated on the way; nothing was trained",
        fix="look for 'Dropped' in logs/engine.log, and please report it",
    )


def read_expected(value: Mapping[str, Any] | None) -> Expected | None:
    """The value as the front end sent it."""
    return None if value is None else Expected(**value)
