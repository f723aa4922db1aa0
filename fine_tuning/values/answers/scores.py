"""What was scored before and after a training: `scores.json` of the run, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

RowLoss = tuple[float | None, int]  # nats (None: not finite), tokens
MetricKind = Literal["share", "number"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One held-out row as the model answered it; None: a run of an older version did not say."""

    question: str
    expected: str
    answer: str
    prompt: str = ""
    tokens: int | None = None  # that were generated
    stopped: bool | None = None  # by itself, not at the limit of tokens
    reward: float | None = None  # the weighted sum, where rewards judge it


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What a model gives to held-out answers that are wanted, and to those that are not.

    `paired`: those at the same place answer the same prompt (pairs of a chosen and a rejected
    answer); else each stands for itself (answers that are marked good or bad).
    """

    chosen: tuple[float | None, ...]  # None: not finite
    rejected: tuple[float | None, ...]
    paired: bool = True

    @property
    def known(self) -> "tuple[Sequence[float], Sequence[float]] | None":
        """Both sides, if there are some and all are finite numbers."""
        sides = [[it for it in side if it is not None] for side in (self.chosen, self.rejected)]
        whole = [len(known) for known in sides] == [len(self.chosen), len(self.rejected)]
        return (sides[0], sides[1]) if whole and all(sides) else None

    @property
    def count(self) -> int:
        """Independent comparisons: the pairs, or as many as there are answers of the rarer mark."""
        return min(len(self.chosen), len(self.rejected))

    @property
    def accuracy(self) -> float | None:
        """The share of pairs of which the wanted answer has the higher reward; equal ones count
        half. Without pairs, of all that can be made (the area under the ROC curve)."""
        if (known := self.known) is None:
            return None
        pairs = list(zip(*known, strict=True) if self.paired else product(*known))
        return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)

    @property
    def margin(self) -> float | None:
        """By how much the mean reward of wanted answers is the higher one."""
        if (known := self.known) is None:
            return None
        return sum(known[0]) / len(known[0]) - sum(known[1]) / len(known[1])


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One model on the held-out rows: `metrics` by name (None: not finite), of each row the summed
    loss of its answer and the tokens of that, and its answers.

    Where preferences are trained, the answers are the wanted ones; `rejected_losses` are those of
    the others. `general` are those of the general rows that come along (resources.FORGETTING), and
    `general_answers` the beginning of what the model says to some of them, by their numbers.
    """

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    losses: tuple[RowLoss, ...] = ()
    samples: tuple[Answer, ...] = ()
    rejected_losses: tuple[RowLoss, ...] = ()
    general: tuple[RowLoss, ...] = ()
    general_answers: tuple[tuple[int, str], ...] = ()
    rewards: Rewards | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there are answers, and of every row it is known what is expected."""
        return bool(self.samples) and all(it.expected for it in self.samples)

    @property
    def pairs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The answers, and those that were expected."""
        answers = tuple(it.answer for it in self.samples)
        return answers, tuple(it.expected for it in self.samples)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The model as it was before the training, and as it is after it."""

    before: Scored = Scored()
    after: Scored = Scored()


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric on held-out rows before and after training.

    `kind` "share" is a share of `n` rows (0 to 1, shown with a 95% Wilson interval); "number" is
    any other value. `better` says which way is good. `change` is the 95% interval of the change,
    where the rows of both sides are the same (measures/paired.py). `leads`: it can stand for all.
    """

    name: str
    metric: str = ""  # as files name it
    before: float | None = None
    after: float | None = None
    n: int = 0
    kind: MetricKind = "number"
    better: Better = "higher"
    change: tuple[float, float] | None = None
    moved: tuple[int, int] | None = None  # rows of a share that became right, and wrong
    signature: str = ""  # what else decides the value, in the words of the library that counts
    leads: bool = True
