"""Rows with media or weights as typed parquet.

From JSON Lines, the engine's loader infers types by the first 10 MB: a first image or weight after
that breaks loading. Parquet says them.
"""

from collections.abc import Iterator, Set
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet as parquet

from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS, WEIGHT

BATCH = 1000
TURN = pyarrow.struct([("from", pyarrow.string()), ("value", pyarrow.string())])
WEIGHTED_TURN = pyarrow.struct([*TURN, (WEIGHT, pyarrow.int8())])
TYPES: dict[str, Any] = {
    "conversations": pyarrow.list_(TURN),
    "chosen": TURN,
    "rejected": TURN,
    "label": pyarrow.bool_(),
    "system": pyarrow.string(),
    "tools": pyarrow.string(),
    **{column: pyarrow.list_(pyarrow.string()) for column in MEDIA_COLUMNS},
}


def write_typed(rows_path: Path, columns: Set[str]) -> Path:
    """Replaces canonical JSON Lines by parquet with the same rows, in the same order."""
    target = rows_path.with_suffix(".parquet")
    names = [name for name in TYPES if name in columns]
    types = {**TYPES, "conversations": pyarrow.list_(WEIGHTED_TURN)} if WEIGHT in columns else TYPES
    schema = pyarrow.schema([(name, types[name]) for name in names])
    with rows_path.open("rb") as lines, parquet.ParquetWriter(target, schema) as writer:
        for rows in _batches(lines):
            for row in rows:
                for column in MEDIA_COLUMNS:
                    if column in columns:
                        row.setdefault(column, [])
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    rows_path.unlink()
    return target


def _batches(lines: Any) -> Iterator[list[dict[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    while batch := [decode(line) for line in islice(lines, BATCH)]:
        yield batch
