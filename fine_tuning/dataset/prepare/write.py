"""Writes some of the rows of a canonical file to another, a few of them shortened."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet as parquet

from fine_tuning.dataset.insight.rows import is_parquet, read_lines
from fine_tuning.dataset.prepare.fit import keep_leading_rounds
from fine_tuning.disk.files import written


def write_rows(
    source: Path, target: Path, wanted: npt.NDArray[np.bool_], keep_rounds: Mapping[int, int]
) -> None:
    """Copies the wanted rows, in order; `keep_rounds[row]` leaves only so many rounds of a row.

    The target appears when it is complete. Parquet keeps its schema.
    """
    write = _write_parquet if is_parquet(source) else _write_lines
    with written(target) as partial:
        write(source, partial, wanted, keep_rounds)


def _write_lines(
    source: Path, target: Path, wanted: npt.NDArray[np.bool_], keep_rounds: Mapping[int, int]
) -> None:
    with target.open("wb") as file:
        for row, (line, is_wanted) in enumerate(
            zip(read_lines(source), wanted.tobytes(), strict=True)
        ):
            if not is_wanted:
                continue
            if rounds := keep_rounds.get(row):
                line = msgspec.json.encode(keep_leading_rounds(msgspec.json.decode(line), rounds))
            file.write(line + b"\n")


def _write_parquet(
    source: Path, target: Path, wanted: npt.NDArray[np.bool_], keep_rounds: Mapping[int, int]
) -> None:
    start = 0
    with (
        parquet.ParquetFile(source) as table,
        parquet.ParquetWriter(target, table.schema_arrow) as writer,
    ):
        for batch in table.iter_batches(batch_size=1000):
            rows = range(start, start + len(batch))
            start = rows.stop
            mask = wanted[rows.start : rows.stop]
            if not any(row in keep_rounds for row in rows):
                writer.write_batch(batch.filter(pyarrow.array(mask)))
                continue
            kept = [
                keep_leading_rounds(row, keep_rounds[number]) if number in keep_rounds else row
                for number, row, is_wanted in zip(rows, batch.to_pylist(), mask, strict=True)
                if is_wanted
            ]
            writer.write_batch(pyarrow.RecordBatch.from_pylist(kept, schema=table.schema_arrow))
