"""The canonical rows of all parts in one file (two with a validation split), with their origins."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from fine_tuning.dataset.account.duplicates import Repeats, find_repeats, read_numbers
from fine_tuning.dataset.account.ledger import ReadFile
from fine_tuning.dataset.account.sink import HASHES, LINES, REJECTED, ROWS, Slice, joined, lines_of
from fine_tuning.dataset.prepare.media_table import write_typed

ORIGIN = np.dtype([("file", "<u4"), ("line", "<u8")])


@dataclass(frozen=True)
class JoinedRows:
    """What lies on disk. `files` are those for training, then those of the validation split;
    rows are numbered through them. `gone` marks the repeats that were dropped, `starts` says how
    many rows stand before each file."""

    files: Sequence[ReadFile]
    path: Path
    origins_path: Path
    validation_path: Path | None
    validation_origins_path: Path | None
    rejected_path: Path
    repeats: Repeats
    gone: Any
    starts: Sequence[int]
    train_rows: int
    fingerprint: str

    @property
    def kept(self) -> int:
        return len(self.gone) - int(self.gone.sum())

    @property
    def validation_rows(self) -> int:
        after = self.gone[self.train_rows :]
        return len(after) - int(after.sum())

    def dropped(self) -> dict[int, int]:
        """How many rows of each file (its `id`) were dropped as repeats."""
        pairs = zip(self.files, self.starts, strict=True)
        return {
            id(file): int(self.gone[start : start + file.rows_kept].sum()) for file, start in pairs
        }


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
    ordered = [*train, *held_out]
    repeats = find_repeats(_slices(ordered, HASHES))
    *starts, rows = accumulate((file.rows_kept for file in ordered), initial=0)
    gone = np.zeros(rows, dtype=np.bool_)
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
        _move_into(out, _slices(files, REJECTED))
    return JoinedRows(
        files=ordered,
        path=path,
        origins_path=out_dir / "rows.origins",
        validation_path=validation,
        validation_origins_path=out_dir / "validation.origins" if held_out else None,
        rejected_path=rejected,
        repeats=repeats,
        gone=gone,
        starts=starts,
        train_rows=train_rows,
        fingerprint=_fingerprint(repeats.slices, gone, train_rows),
    )


def _write_rows(files: Sequence[ReadFile], rows_path: Path, gone: Any) -> None:
    """One file of all parts without the rows that are gone; no disk need hold the rows twice."""
    slices = _slices(files, ROWS)
    if not gone.any():
        if slices and slices[0].is_whole:
            slices.pop(0).path.replace(rows_path)
        with rows_path.open("ab") as out:
            _move_into(out, slices)
        return
    wanted = iter((~gone).tolist())
    with rows_path.open("wb") as out:
        for part in slices:
            out.writelines(line for line in lines_of(part) if next(wanted))
            if part.is_whole:
                part.path.unlink()


def _slices(files: Sequence[ReadFile], name: str) -> list[Slice]:
    return joined(part for file in files for part in file.slices(name))


def _move_into(out: BinaryIO, slices: Sequence[Slice]) -> None:
    for part in slices:
        with part.path.open("rb") as file:
            file.seek(part.start)
            left = part.end - part.start
            while left:
                left -= out.write(file.read(min(left, 1 << 20)))
        if part.is_whole:
            part.path.unlink()


def _write_origins(
    files: Sequence[ReadFile], rows_path: Path, order: dict[int, int], gone: Any
) -> None:
    """Beside the rows: file and line of each."""
    start = 0
    with rows_path.with_suffix(".origins").open("wb") as out:
        for file in files:
            for lines in read_numbers(file.slices(LINES)):
                table = np.empty(len(lines), dtype=ORIGIN)
                table["file"], table["line"] = order[id(file)], lines
                table[~gone[start : start + len(lines)]].tofile(out)
                start += len(lines)


def _fingerprint(slices: Sequence[Slice], gone: Any, train_rows: int) -> str:
    digest = xxhash.xxh3_128(str(train_rows).encode())
    for hashes in read_numbers(slices):
        digest.update(hashes.tobytes())
    digest.update(np.flatnonzero(gone).tobytes())
    return digest.hexdigest()
