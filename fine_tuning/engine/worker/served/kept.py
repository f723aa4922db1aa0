"""Sequences of rows that the look at the tokens has made, kept until the rows are encoded.

A row is known again by its own bytes, and only by an encoder that makes the same of it: by the same
tokenizer, template and wishes, on the same day (some templates write today's date).
"""

import hashlib
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from fine_tuning.engine.worker.served.columns import Coded
from fine_tuning.engine.worker.served.encoder import BATCH, Encoded, Encoder, Span
from fine_tuning.engine.worker.served.spread import batches_of

Row = Mapping[str, Any]
MOST = 1 << 30  # bytes of rows, which make four times as many of ids
SPARED = 20  # times as much as the rows take must be free on the disk
SCHEMA = pa.schema(
    {"row": pa.binary(16), "tokens": pa.list_(pa.binary()), "spans": pa.list_(pa.binary())}
)


class Keeping:
    """Keeps sequences in a folder, for one encoder."""

    def __init__(self, folder: Path, encoder: Encoder):
        self._folder = folder / _fingerprint(encoder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self, coded: Sequence[Coded]) -> None:
        """Keep what was made of these rows; several processes may do so."""
        made = [(row, found) for row, found in coded if found]
        columns = {
            "row": [_key(row) for row, _ in made],
            "tokens": [[one.tokens.tobytes() for one in found] for _, found in made],
            "spans": [[_packed(one.spans) for one in found] for _, found in made],
        }
        with (
            tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as out,
            pa.ipc.new_file(out, SCHEMA) as writer,
        ):
            writer.write_table(pa.table(columns, SCHEMA))


def keeping(folder: Path | None, encoder: Encoder, files: Iterable[Path]) -> Keeping | None:
    """Keeps the sequences of the rows in some files; None where they would take too much."""
    if folder is None:
        return None
    size = sum(path.stat().st_size for path in files)
    if size > MOST or size * SPARED > shutil.disk_usage(folder.parent).free:
        return None
    return Keeping(folder, encoder)


class Kept:
    """What was kept in a folder for this encoder; nothing, where there is nothing."""

    def __init__(self, folder: Path | None, encoder: Encoder):
        self._encoder = encoder
        self._columns: list[tuple[Any, Any]] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in sorted((folder / _fingerprint(encoder)).glob("*")) if folder else ():
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
            for place, row in enumerate(table["row"].to_pylist()):
                self._places[row] = (len(self._columns), place)
            self._columns.append((table["tokens"], table["spans"]))

    def __len__(self) -> int:
        return len(self._places)

    def encode(self, rows: Iterable[Row]) -> Iterator[list[Encoded]]:
        """The sequences of each row: those that were kept, else made now."""
        if not self._places:
            yield from self._encoder.encode(rows)
            return
        for batch in batches_of(rows, BATCH):
            places = [self._places.get(_key(row)) for row in batch]
            new = [row for row, place in zip(batch, places, strict=True) if place is None]
            made = iter([*self._encoder.encode(new)])
            for place in places:
                yield next(made) if place is None else self._of(*place)

    def _of(self, file: int, place: int) -> list[Encoded]:
        tokens, spans = (column[place].as_py() for column in self._columns[file])
        return [
            Encoded(array("i", ids), _spans(marks))
            for ids, marks in zip(tokens, spans, strict=True)
        ]


def _packed(spans: Iterable[Span]) -> bytes:
    numbers = array("i")
    for one in spans:
        numbers.extend((one.start, one.end, one.trained, one.round_ends))
    return numbers.tobytes()


def _spans(packed: bytes) -> tuple[Span, ...]:
    numbers = iter(array("i", packed))
    return tuple(
        Span(start, end, bool(trained), bool(ends))
        for start, end, trained, ends in zip(numbers, numbers, numbers, numbers, strict=True)
    )


def _key(row: Row) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(row), digest_size=16).digest()


def _fingerprint(encoder: Encoder) -> str:
    """Of all that decides what an encoder makes of a row."""
    tokenizer = encoder.tokenizer
    if not tokenizer.is_fast:  # of which nothing can be said
        return os.urandom(16).hex()
    decided = (
        tokenizer.eos_token_id,
        encoder.served,
        encoder.kind,
        encoder.last_only,
        time.strftime("%x"),
    )
    made = hashlib.blake2b(tokenizer.backend_tokenizer.to_str().encode(), digest_size=16)
    made.update(repr(decided).encode())
    return made.hexdigest()
