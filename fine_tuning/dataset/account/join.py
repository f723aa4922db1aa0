"""The canonical rows of all parts in one file (two with a validation split), with their origins."""

import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from fine_tuning.dataset.account.duplicates import Repeats, find_repeats, read_numbers
from fine_tuning.dataset.account.ledger import ReadFile
from fine_tuning.dataset.account.sink import HASHES, LINES, REJECTED, ROWS
from fine_tuning.dataset.prepare.media_table import write_typed

ORIGIN = np.dtype([("file", "<u4"), ("line", "<u8")])


@dataclass(frozen=True)
class JoinedRows:
    """What lies on disk. `files` are those for training, then those of the validation split;
    rows are numbered through them. `gone` marks the repeats that were dropped."""

    files: Sequence[ReadFile]
    path: Path
    origins_path: Path
    validation_path: Path | None
    validation_origins_path: Path | None
    rejected_path: Path
    repeats: Repeats
    gone: Any
    train_rows: int
    fingerprint: str

    @property
    def kept(self) -> int:
        return len(self.gone) - int(self.gone.sum())

    @property
    def validation_rows(self) -> int:
        after = self.gone[self.train_rows :]
        return len(after) - int(after.sum())

    def dropped_of(self, file: ReadFile) -> int:
        """How many rows of a file were dropped as repeats."""
        index = next(i for i, other in enumerate(self.files) if other is file)
        start = sum(other.rows_kept for other in self.files[:index])
        return int(self.gone[start : start + file.rows_kept].sum())


def join_rows(
    files: Sequence[ReadFile], out_dir: Path, *, dedup: bool, typed_columns: Set[str] | None
) -> JoinedRows:
    """Writes rows, origins and dropped rows into the new `out_dir`, where those of the parts are
    moved to. `typed_columns` asks for parquet, with these columns."""
    order = {id(file): index for index, file in enumerate(files)}
    train = [file for file in files if file.source.split == "train"]
    held_out = [file for file in files if file.source.split == "validation"]
    if not train:  # a validation split alone is data like any other
        train, held_out = held_out, []
    joined = [*train, *held_out]
    repeats = find_repeats([path for file in joined for path in file.paths(HASHES)])
    gone = np.zeros(sum(file.rows_kept for file in joined), dtype=np.bool_)
    train_rows = sum(file.rows_kept for file in train)
    for row, _ in repeats.rows() if dedup else ():
        gone[row] = row < train_rows  # the validation rows are never changed
    path = out_dir / "rows.jsonl"
    validation = out_dir / "validation.jsonl" if held_out else None
    _write_rows(train, path, gone[:train_rows])
    _write_origins(train, path, order, gone[:train_rows])
    if validation:
        _write_rows(held_out, validation, gone[train_rows:])
        _write_origins(held_out, validation, order, gone[train_rows:])
    if typed_columns:
        path = write_typed(path, typed_columns)
        validation = write_typed(validation, typed_columns) if validation else None
    rejected = out_dir / "rejected.jsonl"
    with rejected.open("wb") as out:
        _move_into(out, [part for file in files for part in file.paths(REJECTED)])
    return JoinedRows(
        files=joined,
        path=path,
        origins_path=out_dir / "rows.origins",
        validation_path=validation,
        validation_origins_path=out_dir / "validation.origins" if held_out else None,
        rejected_path=rejected,
        repeats=repeats,
        gone=gone,
        train_rows=train_rows,
        fingerprint=_fingerprint(repeats.paths, gone, train_rows),
    )


def _write_rows(files: Sequence[ReadFile], rows_path: Path, gone: Any) -> None:
    """One file of all parts without the rows that are gone; no disk need hold the rows twice."""
    first, *others = [path for file in files for path in file.paths(ROWS)]
    if not gone.any():
        first.replace(rows_path)
        with rows_path.open("ab") as out:
            _move_into(out, others)
        return
    wanted = (~gone).tolist()
    row = 0
    with rows_path.open("wb") as out:
        for part in (first, *others):
            with part.open("rb") as lines:
                for line in lines:
                    if wanted[row]:
                        out.write(line)
                    row += 1
            part.unlink()


def _move_into(out: BinaryIO, parts: Sequence[Path]) -> None:
    for part in parts:
        with part.open("rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)
        part.unlink()


def _write_origins(
    files: Sequence[ReadFile], rows_path: Path, order: dict[int, int], gone: Any
) -> None:
    """Beside the rows: file and line of each."""
    start = 0
    with rows_path.with_suffix(".origins").open("wb") as out:
        for file in files:
            for lines in read_numbers(file.paths(LINES)):
                table = np.empty(len(lines), dtype=ORIGIN)
                table["file"], table["line"] = order[id(file)], lines
                table[~gone[start : start + len(lines)]].tofile(out)
                start += len(lines)


def _fingerprint(paths: Sequence[Path], gone: Any, train_rows: int) -> str:
    digest = xxhash.xxh3_128(str(train_rows).encode())
    for hashes in read_numbers(paths):
        digest.update(hashes.tobytes())
    digest.update(np.flatnonzero(gone).tobytes())
    return digest.hexdigest()
