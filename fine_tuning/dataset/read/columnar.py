"""Parquet, Arrow and Feather files: row by row, in bounded memory; line n is the n-th row."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fine_tuning.dataset.read.batch import BATCH_BYTES, BATCH_ROWS, file_problem
from fine_tuning.dataset.read.columnar_values import Mending
from fine_tuning.dataset.read.raw.stream import CHUNK, unpacked
from fine_tuning.values.data import Records

# A year 10000, a list as key, a time zone of nowhere, text that is no UTF-8 (Arrow's errors, and
# those of zoneinfo and pytz, are kinds of these).
UNHOLDABLE = (OverflowError, TypeError, LookupError, ValueError, NotImplementedError)


def read_columnar(path: Path, compression: str) -> Iterator[Records]:
    """The rows of a columnar file as dicts; structs become dicts, lists lists, maps dicts."""
    import pyarrow as pa

    row = 0
    mending: Mending | None = None
    try:
        with path.open("rb") as packed, _unpacked_file(packed, compression) as file:
            for batch in _batches(file):
                if mending is None:
                    mending = Mending(batch.schema)
                    if mending.doubled:
                        listed = ", ".join(f'"{name}"' for name in mending.doubled[:10])
                        twice = f"several columns are called {listed}; the last of each is used"
                        yield file_problem("duplicate_key", twice, "warning")
                for part in _slices(batch):
                    values = _rows(part)
                    mending.rows(values)
                    yield Records(values, range(row + 1, row + 1 + len(values)))
                    row += len(values)
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        what = str(error).split("\n")[0][:200]
        yield file_problem(
            "damaged_file",
            f"the columnar data cannot be read after row {row} ({what}); the file may be cut off:"
            " compare its size with the original's, or write it again",
        )

    if mending is not None and mending.nulls:
        yield file_problem(
            "struct_nulls",
            f"{mending.nulls:,} nulls in the arguments or descriptions of tools were left out: a"
            " column of structs gives every row the members of all rows. If a null was meant there,"
            " write the arguments as JSON text",
            "warning",
        )


def _rows(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch; a value that Python cannot hold is its text or its bytes."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="lossy")
    except UNHOLDABLE:
        columns = [_values(column) for column in batch.columns]
        names = batch.schema.names
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except UNHOLDABLE:
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    try:
        return list(column.cast(pa.binary() if text else pa.string()).to_pylist())
    except UNHOLDABLE:  # none that could be written either
        return [f"({column.type})" if value.is_valid else None for value in column]


def _batches(file: BinaryIO) -> Iterator[Any]:
    import pyarrow as pa

    magic = file.read(8)
    file.seek(0)
    if magic.startswith(b"PAR1"):
        import pyarrow.parquet as pq

        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            yield from parquet.iter_batches(batch_size=BATCH_ROWS)
    elif magic.startswith(b"ARROW1"):
        with pa.ipc.open_file(file) as reader:
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    elif magic.startswith(b"FEA1"):
        import pyarrow.feather

        yield from pyarrow.feather.read_table(file).to_batches(BATCH_ROWS)
    else:
        with pa.ipc.open_stream(file) as reader:
            yield from reader


def _slices(batch: Any) -> Iterator[Any]:
    """A record batch in parts of bounded size: one batch may hold a million long rows."""
    rows = int(batch.num_rows)
    each = max(1, int(batch.nbytes) // max(rows, 1))
    step = max(1, min(BATCH_ROWS, BATCH_BYTES // each))
    yield from (batch.slice(start, step) for start in range(0, rows, step))


def _unpacked_file(packed: BinaryIO, compression: str) -> Any:
    """A columnar file is read from its end: an archive is first unpacked to a temporary file."""
    if not compression:
        return packed
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    for chunk in unpacked(iter(lambda: packed.read(CHUNK), b""), compression):
        file.write(chunk)
    file.seek(0)
    return file
