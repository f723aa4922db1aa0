"""How long scoring takes, said before it begins, and what would shorten it."""

import math
import time
from collections.abc import Callable, Sequence

import torch

from fine_tuning.engine.worker.scoring.batches import Said
from fine_tuning.engine.worker.scoring.generate import (
    BATCH,
    Limit,
    greedily,
    is_soft_prompt,
)
from fine_tuning.engine.worker.scoring.prompts import Pair
from fine_tuning.engine.worker.scoring.with_media import MediaModel
from fine_tuning.units import counted, duration_text

LONG_S = 60  # a minute that nobody was told of is long
READ = 64  # tokens of the prompt that the model is timed with
WRITTEN = 3  # tokens that it writes then
Clock = Callable[[], float]


class Foretold:
    """Says once that scoring takes long, and what would shorten it: before the first batch by what
    a few tokens took, else after it by what that took."""

    def __init__(self, note: Said, clock: Clock = time.monotonic) -> None:
        self._note: Said | None = note
        self._clock = clock
        self._began = clock()

    def before(self, model: MediaModel, pairs: Sequence[Pair], limit: Limit) -> None:
        """Ask the model a few tokens, and say how long these rows may take."""
        seconds = foretell(model, pairs, limit, self._clock) if pairs else 0.0
        self._say(
            seconds, f"Scoring {counted(len(pairs), 'row')} may take {duration_text(seconds)}"
        )
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


def foretell(model: MediaModel, pairs: Sequence[Pair], limit: Limit, clock: Clock) -> float:
    """Seconds that losses of and answers to these rows may take: every prompt is read twice, and
    every batch writes as many tokens as it may.

    A batch writes a token in about the time in which one row does (what is read then is the
    weights). 0 where the model cannot be timed.
    """
    prompt = max((asked for asked, _ in pairs), key=len)[:READ]
    try:
        _seconds(model, prompt, 1, clock)  # the first call sets much up
        reading = _seconds(model, prompt, 1, clock)
        writing = max(0.0, _seconds(model, prompt, 1 + WRITTEN, clock) - reading) / WRITTEN
    except RuntimeError:  # memory, most likely: the scoring itself says so
        return 0.0
    read = sum(2 * len(asked) + len(answer) for asked, answer in pairs)
    batches = math.ceil(len(pairs) / (1 if is_soft_prompt(model.model) else BATCH))
    return reading / len(prompt) * read + batches * limit.tokens(pairs) * writing


def _seconds(model: MediaModel, prompt: Sequence[int], new: int, clock: Clock) -> float:
    """What one answer of so many tokens takes."""
    ids = torch.tensor([list(prompt)]).to(model.model.device)
    how = {**greedily(model.tokenizer, model.stop_ids, new), "min_new_tokens": new}
    began = clock()
    model.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how).tolist()
    return clock() - began
