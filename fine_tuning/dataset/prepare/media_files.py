"""The files that rows name: whether they are still those that were checked."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet

from fine_tuning.dataset.insight.rows import is_parquet
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS
from fine_tuning.values.data import CheckedData

# Rows that were dropped for these may be usable once a file has come or changed.
MEDIA_CODES = frozenset({"media_missing", "media_unreadable"})


def files_named(*rows_paths: Path | None) -> Iterator[Path]:
    """Images, videos and audios of the rows, in order; a file as often as rows name it."""
    for path in rows_paths:
        if path is None or not is_parquet(path):
            continue
        with parquet.ParquetFile(path) as table:
            columns = [name for name in MEDIA_COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(columns=columns):
                for column in batch.columns:
                    for name in column.flatten().to_pylist():
                        yield Path(name)


def content_key(fingerprint: str, *rows_paths: Path | None) -> str:
    """The fingerprint of rows together with the sizes of their files; without files the same."""
    digest = hashlib.sha256(fingerprint.encode())
    sizes = [file.stat().st_size if file.exists() else -1 for file in files_named(*rows_paths)]
    for size in sizes:
        digest.update(size.to_bytes(8, "little", signed=True))
    return digest.hexdigest()[:32] if sizes else fingerprint


def media_state(data: CheckedData) -> str | None:
    """A hash of path, size and modification time of every file that the rows name.

    Empty: they name none. None: it is not known, since rows were dropped because of other files.
    """
    if MEDIA_CODES & data.counts.keys():
        return None
    digest = hashlib.sha256()
    empty = digest.digest()
    for file in files_named(data.rows_path, data.validation_path):
        status = file.stat() if file.exists() else None
        times = (status.st_size, status.st_mtime_ns) if status else None
        digest.update(f"{file}\0{times}\0".encode())
    return digest.hexdigest()[:16] if digest.digest() != empty else ""
