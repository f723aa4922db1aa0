"""How long scoring takes, said before it begins, and what would shorten it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fine_tuning.engine.worker.scoring.generate import Limit
from fine_tuning.engine.worker.scoring.greedy import ANSWER_TOKENS, greedily, rows_at_once
from fine_tuning.engine.worker.scoring.inputs.batches import Said
from fine_tuning.engine.worker.scoring.inputs.prompts import Pair
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.tokens.rendering import with_answer
from fine_tuning.units import counted, duration_text

LONG_S = 60  # a minute that nobody was told of is long
READ = 64  # tokens of the prompt that the model is timed with
WRITTEN = 3  # tokens that it writes then
Clock = Callable[[], float]
Row = Mapping[str, Any]


class Foretold:
    """Says once that scoring takes long, and what would shorten it: before the first batch by what
    a few tokens took, else after it by what that took."""

    def __init__(self, note: Said, clock: Clock = time.monotonic) -> None:
        self._note: Said | None = note
        self._clock = clock
        self._began = clock()

    def before(self, seconds: float, rows: int) -> None:
        """Say how long so many rows may take, as `foretell` and `foretell_media` have it."""
        self._say(seconds, f"Scoring {counted(rows, 'row')} may take {duration_text(seconds)}")
        self._began = self._clock()

    def __call__(self, done: int, total: int) -> None:
        if self._note is None:
            return
        left = (self._clock() - self._began) / max(1, done) * (total - done)
        self._say(left, f"Scoring takes about {duration_text(left)} more of {total:,} rows")

    def _say(self, seconds: float, what: str) -> None:
        if self._note is not None and seconds > LONG_S:
            self._note(f"{what}; --score_samples scores fewer rows, or none (0).")
            self._note = None


def foretell(
    model: MediaModel, pairs: Sequence[Pair], limit: Limit, clock: Clock = time.monotonic
) -> float:
    """Seconds that losses of and answers to these rows may take: every prompt is read twice, and
    every batch writes as many tokens as it may.

    A batch writes a token in about the time in which one row does (what is read then is the
    weights). 0 where the model cannot be timed.
    """
    if not pairs:
        return 0.0
    prompt = list(max((asked for asked, _ in pairs), key=len)[:READ])
    ids = torch.tensor([prompt]).to(model.model.device)

    def ask(how: dict[str, Any]) -> None:
        model.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how).tolist()

    try:
        reading, writing = _timed(model, ask, clock)
    except RuntimeError:  # memory, most likely: the scoring itself says so
        return 0.0
    read = sum(2 * len(asked) + len(answer) for asked, answer in pairs)
    new = limit.tokens(pairs)
    tokens = sum(len(asked) + new for asked, _ in pairs)
    batches = math.ceil(max(len(pairs) / rows_at_once(model.model), tokens / ANSWER_TOKENS))
    return reading / len(prompt) * read + batches * new * writing


def foretell_media(
    model: MediaModel, rows: Sequence[Row], limit: Limit, clock: Clock = time.monotonic
) -> float:
    """As `foretell`, of rows with media, which are asked one by one: by the first of them."""
    if not rows:
        return 0.0
    try:
        pair = model.prompt_and_answer(with_answer(rows[0]))
        reading, writing = _timed(model, lambda how: model.answer(rows[0], pair[0], **how), clock)
    except Exception:  # there are many kinds of such models: the scoring itself says why
        return 0.0
    return len(rows) * (2 * reading + limit.tokens([pair]) * writing)


def _timed(
    model: MediaModel, ask: Callable[[dict[str, Any]], object], clock: Clock
) -> tuple[float, float]:
    """Seconds to read the prompt, and to write a token."""
    reading = [_seconds(model, ask, 1, clock) for _ in range(2)][1]  # the first sets much up
    return reading, max(0.0, _seconds(model, ask, 1 + WRITTEN, clock) - reading) / WRITTEN


def _seconds(
    model: MediaModel, ask: Callable[[dict[str, Any]], object], new: int, clock: Clock
) -> float:
    """What one answer of so many tokens takes."""
    how = {**greedily(model.tokenizer.pad_token_id, model.stop_ids, new), "min_new_tokens": new}
    began = clock()
    ask(how)
    return clock() - began
