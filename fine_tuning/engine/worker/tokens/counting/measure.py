"""Every row's tokens as LLaMA-Factory will count them, where it encodes by itself."""

import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.tokens.counting.lengths import count_tokens, whole_length
from fine_tuning.engine.worker.tokens.counting.media import expanded
from fine_tuning.engine.worker.tokens.rendering import Rendering, Shape, is_trained, watched

PROGRESS_EVERY_S = 0.2


@dataclass
class Measured:
    """Every row's tokens; of each row over the limit, by its number, those of its rounds; which
    rows hold media, and why those of a row cannot be read; how many answers have the weight 0."""

    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    overlong: dict[int, tuple[int, ...]] = field(default_factory=dict)
    with_media: "array[int]" = field(default_factory=lambda: array("I"))
    unreadable: dict[int, str] = field(default_factory=dict)
    untrained_answers: int = 0

    def counted(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The same rows; their answers with the weight 0 are counted."""
        for row in rows:
            self.untrained_answers += sum(not is_trained(turn) for turn in row["conversations"])
            yield row


def measure(
    how: Rendering,
    path: Path,
    limit: int | None,
    events: Events,
    first_of_shape: dict[Shape, Mapping[str, Any]],
) -> Measured:
    """Every row measured; `limit` None: no row is overlong.

    The first row of each shape is kept on the way.
    """
    found = Measured()
    # llamafactory/data/processor/pretrain.py begins each document so, if it does not pack them
    bos = getattr(how.tokenizer, "add_bos_token", False)
    begun = 1 if how.kind == "text" and limit is not None and bos else 0
    rows = found.counted(watched(reported(read_rows(path), events), first_of_shape))
    for counts in count_tokens(how, expanded(rows, how, found.with_media, found.unreadable)):
        length = whole_length(how, counts) + begun
        if limit is not None and length > limit:
            rounds = _cumulative(counts, how.template) if how.kind == "chat" else (length,)
            found.overlong[len(found.lengths)] = rounds
        found.lengths.append(length)
    return found


def reported(rows: Iterable[Mapping[str, Any]], events: Events) -> Iterator[Mapping[str, Any]]:
    """The same rows; how far they are is told now and then."""
    told = time.monotonic()
    for number, row in enumerate(rows):
        if (now := time.monotonic()) - told > PROGRESS_EVERY_S:
            told = now
            events.progress(number)
        yield row


def _cumulative(counts: Sequence[int], template: Any) -> tuple[int, ...]:
    """Tokens of the row if it ended after its first, second ... round."""
    tail = 1 if template.efficient_eos else 0
    return tuple(so_far + tail for so_far in accumulate(counts))
