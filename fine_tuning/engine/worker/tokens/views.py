"""Rows as they are trained: LLaMA-Factory's own processors, and which text has a loss."""

from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from llamafactory.data.processor.feedback import FeedbackDatasetProcessor
from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
from llamafactory.data.processor.pretrain import PretrainDatasetProcessor
from llamafactory.extras.constants import IGNORE_INDEX

from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages, with_answer
from fine_tuning.engine.worker.training.weights import Marking, WeightedProcessor
from fine_tuning.errors import EngineError
from fine_tuning.values.tokens import RowView

REPEATED = 8  # as many equal tokens in a row are shown as one with their number


def shown_rows(show: Sequence[str], lengths: "array[int]", cutoff: int) -> list[int]:
    """Row numbers for `--show`: a count, `longest`, `truncated`, or `ROW` (`#12`)."""
    rows: list[int] = []
    for what in show:
        if what == "longest":
            rows.append(max(range(len(lengths)), key=lengths.__getitem__))
        elif what == "truncated":
            rows += [i for i, length in enumerate(lengths) if length > cutoff][:5]
        elif what.startswith("#"):
            rows += [int(what[1:])] if int(what[1:]) < len(lengths) else []
        else:
            wanted = min(int(what), len(lengths))
            rows += [i * len(lengths) // wanted for i in range(wanted)] if wanted else []
    return list(dict.fromkeys(rows))


def views(
    how: Rendering, path: Path, wanted: Sequence[int], data_args: Any, lengths: "array[int]"
) -> list[RowView]:
    """Each wanted row as LLaMA-Factory's processor encodes it.

    Raises EngineError if it has another number of tokens than was counted.
    """
    found = []
    for index, row in enumerate(islice(read_rows(path), max(wanted, default=-1) + 1)):
        if index not in wanted:
            continue
        ids, labels, length = encoded(how, row, data_args)
        counted = lengths[index]
        if how.kind != "text" and counted <= data_args.cutoff_len and counted != length:
            raise EngineError(
                f"Row {index} has {length} tokens by LLaMA-Factory's processor and {counted} "
                "by our count; the lengths shown cannot be trusted.",
                fix="please report this with the model's name",
            )
        whole = how.kind == "text"  # it ends nowhere
        stops = {*ids} if whole else {*how.template.get_stop_token_ids(how.tokenizer)}
        found.append(row_view(how.tokenizer, index, ids, labels, stops))
    return found


def row_view(
    tokenizer: Any, row: int, ids: Sequence[int], labels: Sequence[int], stops: Set[int]
) -> RowView:
    """A row, or one sequence of it, with what is trained; `stops` end an answer."""
    return RowView(
        row=row,
        tokens=len(ids),
        trained=sum(label != IGNORE_INDEX for label in labels),
        spans=tuple(_spans(tokenizer, ids, labels)),
        all_masked=all(label == IGNORE_INDEX for label in labels),
        stop_trained=not stops.isdisjoint(labels),
    )


def encoded(
    how: Rendering, row: Mapping[str, Any], data_args: Any
) -> tuple[list[int], list[int], int]:
    """Ids and labels (of a preference row with the chosen answer), and the row's length."""
    template, tokenizer, processor = how.template, how.tokenizer, how.processor
    if how.kind == "text":
        documents = PretrainDatasetProcessor(template, tokenizer, None, data_args)
        text = row["conversations"][0]["value"]
        blocks = documents.preprocess_dataset({"_prompt": [[{"role": "user", "content": text}]]})
        ids = [token for block in blocks["input_ids"] for token in block]
        return ids, ids, len(ids)
    whole = with_answer(row)
    messages = [
        {**message, "weight": turn.get("weight")}
        for message, turn in zip(engine_messages(whole), whole["conversations"], strict=True)
    ]
    prompt, answer = messages[:-1], messages[-1:]
    others: tuple[Any, ...] = (row.get("system") or "", row.get("tools") or "", *media_of(row))
    if how.kind == "preference":
        rejected = engine_messages({"conversations": [row["rejected"]]})
        pairs = PairwiseDatasetProcessor(template, tokenizer, processor, data_args)
        ids, labels, worse, _ = pairs._encode_data_example(prompt, answer + rejected, *others)
        return ids, labels, max(len(ids), len(worse))
    if how.kind == "kto":
        feedback = FeedbackDatasetProcessor(template, tokenizer, processor, data_args)
        ids, labels, *_ = feedback._encode_data_example(prompt, answer, answer, *others)
        return ids, labels, len(ids)
    weighted = WeightedProcessor(Marking(template), tokenizer, processor, data_args)
    ids, labels = weighted._encode_data_example(prompt, answer, *others)
    return ids, labels, len(ids)


def _spans(tokenizer: Any, ids: Sequence[int], labels: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """The decoded text, cut where training begins or ends."""
    for trained, span in groupby(
        zip(ids, labels, strict=True), lambda pair: pair[1] != IGNORE_INDEX
    ):
        yield decoded(tokenizer, [token for token, _ in span]), trained


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of the ids; many equal special ones, as a picture has, are written as one."""
    texts: list[str] = []
    waiting: list[int] = []
    special = {*tokenizer.get_added_vocab().values()}
    for token, group in groupby(ids):
        times = sum(1 for _ in group)
        if times < REPEATED or token not in special:
            waiting += [token] * times
            continue
        texts += [tokenizer.decode(waiting), f"{tokenizer.decode([token])}(x {times:,})"]
        waiting = []
    return "".join([*texts, tokenizer.decode(waiting)])
