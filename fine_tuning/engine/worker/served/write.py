"""Encoded rows as the trainers of LLaMA-Factory read them: a dataset at `tokenized_path`."""

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, tee
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.served.columns import Coded, Row, table_of
from fine_tuning.engine.worker.served.encoder import BATCH, Encoder, encoder_of
from fine_tuning.engine.worker.served.kept import Kept
from fine_tuning.engine.worker.served.spread import batches_of, processes_for, spread
from fine_tuning.values.tokens import Served

KINDS = {"sft": "chat", "rm": "preference", "dpo": "preference", "kto": "kto"}  # of its stages
NUMBERS = ".rows"  # beside a part: the row of each of its sequences, little-endian uint32
Made = tuple["array[int]", pa.Table]  # a batch: how many sequences each row has, and all of them


def served_encoder(tokenizer: Any, served: Served, kind: str) -> Encoder:
    """The encoder that was looked at before, again."""
    encoder = encoder_of(
        tokenizer,
        kind,
        chat_template=served.chat_template,
        stops=served.stops,
        thinking=served.thinking,
        default_system=served.default_system,
        last_only=served.last_only,
        whole=served.whole,
    )
    assert encoder is not None  # it has a chat template, or ours
    return encoder


def write_encoded(
    encoder: Encoder,
    files: Mapping[str, Path],
    data_args: Any,
    out: Path,
    events: Events,
    kept: Path | None = None,
) -> dict[str, dict[str, int]]:
    """Write a dataset with a part for each file; gives the rows and sequences of each.

    Of either part the first `max_samples` rows are taken, and sequences over the cutoff are cut,
    as LLaMA-Factory does (data/loader.py, data/processor/). Several processes encode, as many as
    `preprocessing_num_workers` says, or as are worth it for so many rows;
    what the look at the tokens has `kept` is not made again.
    """
    known = Kept(kept, encoder)
    rows: dict[str, int] = {}
    sequences: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix="encoding-") as folder:
        parts, numbers = {}, {}
        for part, path in files.items():
            counted = _Counted(islice(read_rows(path), data_args.max_samples), events)
            numbers[part] = array("I")
            asked = data_args.preprocessing_num_workers
            processes = 1 if known else asked or processes_for(path)
            made = encoded(encoder, counted, data_args, processes, known)
            tables = _numbered(made, numbers[part])
            parts[part] = _written(tables, Path(folder) / f"{part}.arrow")
            rows[part], sequences[part] = counted.count, len(numbers[part])
        DatasetDict(parts).save_to_disk(str(out))
        for part, of_rows in numbers.items():
            (out / f"{part}{NUMBERS}").write_bytes(of_rows.tobytes())
    return {"rows": rows, "sequences": sequences}


class _Counted:
    """Rows, and how many of them were read."""

    def __init__(self, rows: Iterable[Row], events: Events):
        self._rows, self._events, self.count = rows, events, 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            if self.count % BATCH == 0:
                self._events.progress(self.count)
            yield row


def _numbered(made: Iterable[Made], numbers: "array[int]") -> Iterator[pa.Table]:
    """The tables; `numbers` gets the row of each sequence."""
    row = 0
    for counts, table in made:
        for count in counts:
            numbers.extend([row] * count)
            row += 1
        yield table


def encoded(
    encoder: Encoder,
    rows: Iterable[Row],
    data_args: Any,
    processes: int = 1,
    kept: Kept | None = None,
) -> Iterator[Made]:
    """The rows by batches, as LLaMA-Factory makes them (`preprocessing_batch_size`)."""
    size = data_args.preprocessing_batch_size
    encode = kept.encode if kept else encoder.encode
    if processes > 1:

        def made(batch: list[Row]) -> Made:
            return _made([*zip(batch, encode(batch), strict=True)], encoder, data_args)

        yield from spread(encoder, made, batches_of(rows, size), processes)
        return
    rows, again = tee(rows)
    for batch in batches_of(zip(again, encode(rows), strict=True), size):
        yield _made(batch, encoder, data_args)


def _made(batch: Sequence[Coded], encoder: Encoder, data_args: Any) -> Made:
    counts = array("I", [1 if "chosen" in row else len(found) for row, found in batch])
    return counts, table_of(batch, encoder.kind, encoder.tokenizer, data_args)


def _written(tables: Iterable[pa.Table], path: Path) -> Dataset:
    """The tables in a file that `datasets` maps."""
    writer = None
    with pa.OSFile(str(path), "wb") as file:
        for table in tables:
            writer = writer or pa.ipc.new_stream(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return Dataset.from_file(str(path))
