"""Canonical rows from disk."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a prepared JSON Lines or parquet file, one by one."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as lines:
        for line in lines:
            yield decode(line)


def first_rows(path: Path, most: int) -> list[dict[str, Any]]:
    """At most `most` rows from the beginning."""
    return list(islice(read_rows(path), most))


def drawn_rows(path: Path, most: int, seed: int | None) -> list[dict[str, Any]]:
    """At most `most` rows from all over the file, in their order; without a seed the first."""
    if seed is None:
        return first_rows(path, most)
    count = sum(1 for _ in read_rows(path))
    chosen = set(random.Random(seed).sample(range(count), min(most, count)))
    return [row for number, row in enumerate(read_rows(path)) if number in chosen]
