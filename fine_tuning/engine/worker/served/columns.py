"""Encoded rows as the columns that the collators of LLaMA-Factory's trainers ask for."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from llamafactory.data.processor.processor_utils import infer_seqlen
from llamafactory.data.processor.supervised import PackedSupervisedDatasetProcessor
from llamafactory.extras.constants import IGNORE_INDEX

from fine_tuning.engine.worker.served.encoder import Encoded
from fine_tuning.engine.worker.served.ids.packed import Tokens

MEDIA = ("images", "videos", "audios")
Row = Mapping[str, Any]
Pair = tuple[Tokens, Tokens]  # ids and labels
Columns = dict[str, list[Any]]
Coded = tuple[Row, list[Encoded]]


def table_of(batch: Sequence[Coded], kind: str, tokenizer: Any, data_args: Any) -> pa.Table:
    """The table of a batch of rows of a kind, as LLaMA-Factory's processor makes one of it."""
    columns = COLUMNS[kind](batch, tokenizer, data_args)
    return pa.table({name: _array(name, values) for name, values in columns.items()})


def _dialogues(batch: Sequence[Coded], tokenizer: Any, data_args: Any) -> Columns:
    pairs = [_labelled(one, data_args) for _, sequences in batch for one in sequences]
    if data_args.packing:
        return _packed(pairs, tokenizer, data_args)
    most = data_args.cutoff_len
    return _sequences("", [(ids[:most], labels[:most]) for ids, labels in pairs])


def _labelled(one: Encoded, data_args: Any) -> Pair:
    return one.tokens, one.tokens if data_args.train_on_prompt else one.trained(IGNORE_INDEX)


def _comparisons(batch: Sequence[Coded], tokenizer: Any, data_args: Any) -> Columns:
    """As llamafactory/data/processor/pairwise.py."""
    better, worse = [], []
    for _, (chosen, rejected) in batch:
        prompt, start = chosen.spans[0].start, rejected.spans[0].start
        good, bad = chosen.tokens, rejected.tokens
        longest = max(len(good) - prompt, len(bad) - start)
        kept, answer = infer_seqlen(prompt, longest, data_args.cutoff_len)
        better.append(_masked(good[:prompt][:kept], good[prompt:][:answer]))
        worse.append(_masked(bad[:start][:kept], bad[start:][:answer]))
    return _sequences("chosen_", better) | _sequences("rejected_", worse)


def _rated(batch: Sequence[Coded], tokenizer: Any, data_args: Any) -> Columns:
    """As llamafactory/data/processor/feedback.py: the answer of the row before, in the same batch,
    is what the divergence from the base model is estimated with."""
    parted = [
        (one.tokens[: one.spans[0].start], one.tokens[one.spans[0].start :]) for _, (one,) in batch
    ]
    others = [parted[-1][1], *(answer for _, answer in parted[:-1])]
    rated: list[Pair] = []
    strange: list[Pair] = []
    for (prompt, answer), other in zip(parted, others, strict=True):
        for said, found in ((answer, rated), (other, strange)):
            kept, length = infer_seqlen(len(prompt), len(said), data_args.cutoff_len)
            found.append(_masked(prompt[:kept], said[:length]))
    tags = {"kto_tags": [bool(row["label"]) for row, _ in batch]}
    return _sequences("", rated) | _sequences("kl_", strange) | tags


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
    } | {name: [None] * len(pairs) for name in MEDIA}


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


def _array(name: str, values: list[Any]) -> Any:
    if not name.endswith(("_ids", "_mask", "labels")):
        return pa.array(values)
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    tokens = (one if isinstance(one, array) else array("i", one) for one in values)
    flat = np.frombuffer(b"".join(tokens), np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))
