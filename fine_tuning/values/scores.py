"""What was scored before and after a training: `scores.json` of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

RowLoss = tuple[float | None, int]  # nats (None: not finite), tokens


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One held-out row as the model answered it."""

    question: str
    expected: str
    answer: str
    prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One model on the held-out rows: `metrics` by name (None: not finite), of each row the summed
    loss of its answer and the tokens of that, and its answers."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    losses: tuple[RowLoss, ...] = ()
    samples: tuple[Answer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The model as it was before the training, and as it is after it."""

    before: Scored = Scored()
    after: Scored = Scored()
