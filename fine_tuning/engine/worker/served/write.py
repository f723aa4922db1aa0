"""Encoded rows as the trainers of LLaMA-Factory read them: a dataset at `tokenized_path`."""

import multiprocessing
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict
from llamafactory.data.processor.processor_utils import infer_seqlen
from llamafactory.data.processor.supervised import PackedSupervisedDatasetProcessor
from llamafactory.extras.constants import IGNORE_INDEX

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.served.encoder import BATCH, Encoded, Encoder, encoder_of
from fine_tuning.engine.worker.served.packed import Tokens
from fine_tuning.values.tokens import Served

KINDS = {"sft": "chat", "rm": "preference", "dpo": "preference", "kto": "kto"}  # of its stages
NUMBERS = ".rows"  # beside a part: the row of each of its sequences, little-endian uint32
MEDIA = ("images", "videos", "audios")  # columns that the collators ask for
Row = Mapping[str, Any]
Pair = tuple[Tokens, Tokens]  # ids and labels
Columns = dict[str, list[Any]]
Coded = tuple[Row, list[Encoded]]


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
    encoder: Encoder, files: Mapping[str, Path], data_args: Any, out: Path, events: Events
) -> dict[str, dict[str, int]]:
    """Write a dataset with a part for each file; gives the rows and sequences of each.

    Of either part the first `max_samples` rows are taken, and sequences over the cutoff are cut,
    as LLaMA-Factory does (data/loader.py, data/processor/).
    """
    rows: dict[str, int] = {}
    sequences: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix="encoding-") as folder:
        parts, numbers = {}, {}
        for part, path in files.items():
            counted = _Counted(islice(read_rows(path), data_args.max_samples), events)
            coded = encoded(encoder, counted, data_args.preprocessing_num_workers or 1)
            numbers[part] = array("I")
            numbered = _numbered(coded, numbers[part])
            batches = COLUMNS[encoder.kind](numbered, encoder, data_args)
            parts[part] = _written(batches, Path(folder) / f"{part}.arrow")
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


def _numbered(coded: Iterable[Coded], numbers: "array[int]") -> Iterator[Coded]:
    """The same; `numbers` gets the row of each sequence that is written."""
    for row, (one, sequences) in enumerate(coded):
        numbers.extend([row] * (1 if "chosen" in one else len(sequences)))
        yield one, sequences


def encoded(encoder: Encoder, rows: Iterable[Row], processes: int) -> Iterator[Coded]:
    """Each row with its sequences; by several processes if there are more rows than for one."""
    batches = _batches(rows, BATCH)
    first = list(islice(batches, 2))
    batches = chain(first, batches)
    if processes == 1 or len(first) < 2 or "fork" not in multiprocessing.get_all_start_methods():
        for batch in batches:
            yield from zip(batch, encoder.encode(batch), strict=True)
        return
    context = multiprocessing.get_context("fork")  # which has the encoder: it is not sent
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(encoder,)
    ) as pool:
        waiting: list[tuple[list[Row], Any]] = []
        for batch in batches:
            waiting.append((batch, pool.submit(_encoded, batch)))
            if len(waiting) > 2 * processes:
                rows_, coming = waiting.pop(0)
                yield from zip(rows_, coming.result(), strict=True)
        for rows_, coming in waiting:
            yield from zip(rows_, coming.result(), strict=True)


OF_THIS_PROCESS: list[Encoder] = []  # the one of a process that encodes for another


def _begin(encoder: Encoder) -> None:
    """Threads of the tokenizer do not exist in a fork, but would be waited for."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    OF_THIS_PROCESS[:] = [encoder]


def _encoded(rows: list[Row]) -> list[list[Encoded]]:
    (encoder,) = OF_THIS_PROCESS
    return list(encoder.encode(rows))


def _batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _dialogues(coded: Iterable[Coded], encoder: Encoder, data_args: Any) -> Iterator[Columns]:
    pairs = (_labelled(one, data_args) for _, sequences in coded for one in sequences)
    for batch in _batches(pairs, data_args.preprocessing_batch_size):
        if data_args.packing:
            yield _packed(batch, encoder.tokenizer, data_args)
            continue
        cut = [
            (ids[: data_args.cutoff_len], labels[: data_args.cutoff_len]) for ids, labels in batch
        ]
        yield _sequences("", cut) | _no_media(len(cut))


def _labelled(one: Encoded, data_args: Any) -> Pair:
    return one.tokens, one.tokens if data_args.train_on_prompt else one.trained(IGNORE_INDEX)


def _comparisons(coded: Iterable[Coded], encoder: Encoder, data_args: Any) -> Iterator[Columns]:
    """As llamafactory/data/processor/pairwise.py."""
    for batch in _batches(coded, data_args.preprocessing_batch_size):
        better, worse = [], []
        for _, (chosen, rejected) in batch:
            prompt, start = chosen.spans[0].start, rejected.spans[0].start
            good, bad = chosen.tokens, rejected.tokens
            longest = max(len(good) - prompt, len(bad) - start)
            kept, answer = infer_seqlen(prompt, longest, data_args.cutoff_len)
            better.append(_masked(good[:prompt][:kept], good[prompt:][:answer]))
            worse.append(_masked(bad[:start][:kept], bad[start:][:answer]))
        pairs = _sequences("chosen_", better) | _sequences("rejected_", worse)
        yield pairs | _no_media(len(batch))


def _rated(coded: Iterable[Coded], encoder: Encoder, data_args: Any) -> Iterator[Columns]:
    """As llamafactory/data/processor/feedback.py: the answer of the row before, in the same batch,
    is what the divergence from the base model is estimated with."""
    for batch in _batches(coded, data_args.preprocessing_batch_size):
        parted = [
            (one.tokens[: one.spans[0].start], one.tokens[one.spans[0].start :])
            for _, (one,) in batch
        ]
        others = [parted[-1][1], *(answer for _, answer in parted[:-1])]
        rated: list[Pair] = []
        strange: list[Pair] = []
        for (prompt, answer), other in zip(parted, others, strict=True):
            for said, found in ((answer, rated), (other, strange)):
                kept, length = infer_seqlen(len(prompt), len(said), data_args.cutoff_len)
                found.append(_masked(prompt[:kept], said[:length]))
        tags = {"kto_tags": [bool(row["label"]) for row, _ in batch]}
        yield _sequences("", rated) | _sequences("kl_", strange) | tags | _no_media(len(batch))


COLUMNS = {"chat": _dialogues, "preference": _comparisons, "kto": _rated}


def _masked(prompt: Tokens, answer: Tokens) -> Pair:
    return prompt + answer, _repeated(IGNORE_INDEX, len(prompt)) + answer


def _repeated(token: int, count: int) -> Tokens:
    return array("i", [token]) * count


def _sequences(prefix: str, pairs: Sequence[Pair]) -> Columns:
    return {
        f"{prefix}input_ids": [ids for ids, _ in pairs],
        f"{prefix}attention_mask": [_repeated(1, len(ids)) for ids, _ in pairs],
        f"{prefix}labels": [labels for _, labels in pairs],
    }


def _no_media(count: int) -> Columns:
    return {name: [None] * count for name in MEDIA}


class _Packer(PackedSupervisedDatasetProcessor):  # type: ignore[misc]  # llamafactory is not checked
    """LLaMA-Factory's packing, of sequences that are encoded already."""

    def _encode_data_example(self, prompt: Any, **others: Any) -> tuple[list[int], list[int]]:
        ids, labels = prompt[0]
        return ids.tolist(), labels.tolist()


def _packed(pairs: Sequence[Pair], tokenizer: Any, data_args: Any) -> Columns:
    packer = _Packer(template=None, tokenizer=tokenizer, processor=None, data_args=data_args)
    nothing = [None] * len(pairs)
    names = ("_system", "_tools", "_images", "_videos", "_audios")
    examples = {"_prompt": [[pair] for pair in pairs], "_response": [[None]] * len(pairs)}
    return dict(packer.preprocess_dataset(examples | dict.fromkeys(names, nothing)))


def _written(batches: Iterable[Columns], path: Path) -> Dataset:
    """The columns in a file that `datasets` maps."""
    writer = None
    with pa.OSFile(str(path), "wb") as file:
        for columns in batches:
            table = pa.table({name: _array(name, values) for name, values in columns.items()})
            writer = writer or pa.ipc.new_stream(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return Dataset.from_file(str(path))


def _array(name: str, values: list[Any]) -> Any:
    if not name.endswith(("_ids", "_mask", "labels")):
        return pa.array(values)
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    tokens = (one if isinstance(one, array) else array("i", one) for one in values)
    flat = np.frombuffer(b"".join(tokens), np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))
