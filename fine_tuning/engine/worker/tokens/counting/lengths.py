"""Token counts of every row: LLaMA-Factory's template, the tokenizers library, in batches."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from fine_tuning.engine.worker.tokens.counting.media import ADDED
from fine_tuning.engine.worker.tokens.rendering import (
    PieceTokenizer,
    Rendering,
    SpecialPiece,
    engine_messages,
    engine_rounds,
    is_trained,
    piece_tokenizer,
)

BATCH = 2000

# The pieces of one row, in groups whose token counts are wanted: one group per round.
Groups = list[list[str]]


def row_groups(how: Rendering, pieces: PieceTokenizer, row: Mapping[str, Any]) -> Groups:
    """The pieces of each round of a row; a preference row gives its prompt with either answer."""
    groups = _text_groups(how.kind, how.template, pieces, row)
    if before := row.get(ADDED):
        begun = groups if how.kind == "preference" else groups[:1]
        for group in begun:
            group += [SpecialPiece("media")] * before
    return groups


def _text_groups(
    kind: str, template: Any, pieces: PieceTokenizer, row: Mapping[str, Any]
) -> Groups:
    if kind == "text":
        return [[row["conversations"][0]["value"], SpecialPiece("eos")]]
    if kind in ("preference", "kto"):  # both processors encode a conversation as one turn
        system, tools = row.get("system") or "", row.get("tools") or ""
        ends = [[row["chosen"]], [row["rejected"]]] if kind == "preference" else [[]]
        whole = (engine_messages({"conversations": [*row["conversations"], *end]}) for end in ends)
        return [
            [*prompt, *response]
            for prompt, response in (
                template.encode_oneturn(pieces, messages, system, tools) for messages in whole
            )
        ]
    groups: Groups = [[]]
    pairs = engine_rounds(template, pieces, row)
    for index, (prompt, response) in enumerate(pairs):
        groups[-1] += [*prompt, *response]
        answer = row["conversations"][2 * index + 1]
        complete = answer["from"] == "assistant" and is_trained(answer)
        if complete and index + 1 < len(pairs):  # dataset/prepare/fit.py cuts at the same places
            groups.append([])  # a tool call and its result stay with the answer that follows
    return groups


def count_tokens(how: Rendering, rows: Iterable[Mapping[str, Any]]) -> Iterator[list[int]]:
    """For each row the tokens of each of its rounds (of each answer, for preference rows).

    The next batch is rendered in Python while the library, which releases the interpreter lock,
    tokenizes the last one.
    """
    pieces = piece_tokenizer(how.template, how.tokenizer)
    rows = iter(rows)
    with ThreadPoolExecutor(1) as pool:
        pending: tuple[list[Groups], Future[dict[str, int]]] | None = None
        while batch := [row_groups(how, pieces, row) for row in islice(rows, BATCH)]:
            counting = pool.submit(_piece_lengths, how.tokenizer, batch)
            if pending is not None:
                yield from _row_counts(*pending)
            pending = (batch, counting)
        if pending is not None:
            yield from _row_counts(*pending)


def _piece_lengths(tokenizer: Any, batch: Sequence[Groups]) -> dict[str, int]:
    """Token count of each text of the batch; those that many rows share are tokenized once."""
    pieces = (piece for groups in batch for group in groups for piece in group)
    texts = [*dict.fromkeys(piece for piece in pieces if not isinstance(piece, SpecialPiece))]
    if getattr(tokenizer, "is_fast", False):
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return {text: len(encoding) for text, encoding in zip(texts, encodings, strict=True)}
    return {text: len(tokenizer.encode(text, add_special_tokens=False)) for text in texts}


def _row_counts(batch: Sequence[Groups], counting: "Future[dict[str, int]]") -> Iterator[list[int]]:
    lengths = counting.result()
    for groups in batch:
        yield [
            sum(1 if isinstance(piece, SpecialPiece) else lengths[piece] for piece in group)
            for group in groups
        ]


def whole_length(how: Rendering, rounds: Sequence[int]) -> int:
    """Tokens of the whole row as the trainer gets it: of a preference row, the longer pair.

    Its processors end every conversation and both answers with an eos that some templates leave
    out (`efficient_eos`).
    """
    whole = max(rounds) if how.kind == "preference" else sum(rounds)
    return whole + (1 if how.template.efficient_eos and how.kind != "text" else 0)


def percentiles(lengths: "array[int]") -> dict[str, int]:
    """Length of the shortest, median, 90th, 95th, 99th percentile and longest row."""
    ordered = sorted(lengths)
    last = len(ordered) - 1
    shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: ordered[round(share * last)] for name, share in shares.items()}


def histogram(lengths: "array[int]", bins: int = 24) -> list[tuple[int, int]]:
    """(upper end, rows) of equally wide ranges of length."""
    width = max(1, -(-max(lengths) // bins))
    counts = [0] * (max(lengths) // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return [((i + 1) * width, count) for i, count in enumerate(counts)]
