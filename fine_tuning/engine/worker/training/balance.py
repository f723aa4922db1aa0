"""Whether LLaMA-Factory encoded all that was prepared for it: the last line of the account."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from torch.utils.data import DataLoader

from fine_tuning.errors import EngineError

Counted = Callable[[int], None]


@dataclass(frozen=True)
class Stream:
    """How the engine streams texts, and the lengths of these in tokens (little-endian uint32).

    It shuffles within a buffer, in each of its reading processes for itself, and cuts `batch` texts
    at a time: how many blocks that makes depends on the order.
    """

    lengths_path: str
    cutoff: int
    batch: int
    buffer: int
    seed: int
    workers: int

    def blocks(self) -> int:
        """Blocks of one epoch, by the same library with lengths in place of texts."""
        lengths = Dataset.from_dict({"tokens": np.fromfile(self.lengths_path, "<u4")})

        def cut(texts: Mapping[str, list[int]]) -> dict[str, list[int]]:
            return {"block": [0] * (sum(texts["tokens"]) // self.cutoff)}

        streamed = lengths.to_iterable_dataset(num_shards=self.workers)
        streamed = streamed.shuffle(buffer_size=self.buffer, seed=self.seed)
        blocks = streamed.map(cut, batched=True, batch_size=self.batch, remove_columns=["tokens"])
        return sum(1 for _ in _epoch(blocks, self.workers))


@dataclass(frozen=True)
class Expected:
    """What the engine must have: training rows, or the blocks that text is packed into.

    `workers`: processes that read streamed rows; 0 if they are not streamed. The blocks of streamed
    text are counted here (`stream`), where the library is that cuts them.
    """

    unit: Literal["rows", "blocks"]
    count: int | None = None
    workers: int = 0
    stream: Stream | None = None


def encoded(dataset: Any, expected: Expected, told: Counted) -> int:
    """Rows (before packing) or blocks of a dataset that the engine has encoded, or streams.

    `told` gets the number of streamed ones now and then. In a packed block the positions of each
    row count from 0, and padding is 0 throughout (llamafactory/data/processor/supervised.py): a
    row begins where a 0 is followed by a 1.
    """
    if expected.workers:
        # One pass over the stream, as the training reads it.
        count = 0
        for number, example in enumerate(_epoch(dataset, expected.workers)):
            packed = expected.unit == "rows" and "position_ids" in example
            count += _starts(np.asarray(example["position_ids"])) if packed else 1
            if number % 100 == 0:
                told(count)
        return count
    if expected.unit == "blocks" or "position_ids" not in dataset.column_names:
        return len(dataset)
    starts = 0
    for batch in dataset.select_columns(["position_ids"]).with_format("arrow").iter(1000):
        starts += _starts(batch["position_ids"].combine_chunks().flatten().to_numpy())
    return starts


def _epoch(dataset: Any, workers: int) -> Iterator[Any]:
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers))


def _starts(positions: Any) -> int:
    return int(np.count_nonzero((positions[:-1] == 0) & (positions[1:] == 1)))


def require_all(dataset: Any, expected: Expected, told: Counted = lambda done: None) -> int:
    """The count of what was encoded; raises EngineError if it is not what was prepared.

    Rows that are lost or repeated on the way would train something else, silently.
    """
    wanted = expected.stream.blocks() if expected.stream else expected.count
    found = encoded(dataset, expected, told)
    if found == wanted:
        return found
    raise EngineError(
        f"{wanted:,} {expected.unit} were prepared, but LLaMA-Factory encoded {found:,}.",
        why=f"{expected.unit} were lost or repeated on the way; nothing was trained",
        fix="look for 'Dropped' in logs/engine.log, and please report it",
    )


def read_expected(value: Mapping[str, Any]) -> Expected:
    """The value as the front end sent it."""
    stream = value.get("stream")
    return Expected(**{**value, "stream": Stream(**stream) if stream else None})
