"""The metrics of scored rows, one entry each: statistics of every row, and what their sum says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fine_tuning.measures import texts
from fine_tuning.measures.paired import RESAMPLES, Of
from fine_tuning.measures.texts import Floats
from fine_tuning.values.answers.scores import Better, MetricKind, Scored


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric. `rows` gives statistics of each row, shape (rows, statistics), or None where the
    scores do not say; `of` makes of their sums the metric."""

    name: str
    title: str
    kind: MetricKind = "number"
    better: Better = "higher"
    rows: Callable[[Scored], Floats | None]
    of: Of
    signature: Callable[[Scored], str] | None = None
    resamples: int = RESAMPLES
    leads: bool = True  # it can stand for all


def mean(sums: Floats) -> Floats:
    """Of statistics (value, weight): the weighted mean."""
    found: Floats = sums[..., 0] / sums[..., 1]
    return found


def _each(values: Sequence[float]) -> Floats:
    """Values that count alike."""
    return np.stack([np.array(values, dtype=float), np.ones(len(values))], axis=1)


def _losses(scored: Scored) -> Floats | None:
    if not any(tokens for _, tokens in scored.losses):  # there are none, or prompts alone
        return None
    return np.array(scored.losses, dtype=float)  # None becomes nan


def _of_each(field: str) -> Callable[[Scored], Floats | None]:
    """A field of the samples, where all of them have it."""

    def rows(scored: Scored) -> Floats | None:
        values = [getattr(it, field) for it in scored.samples]
        return _each(values) if values and None not in values else None

    return rows


def _answered(rows: Callable[[Scored], Floats]) -> Callable[[Scored], Floats | None]:
    """None unless every row says what is expected: prompts alone say nothing."""
    return lambda scored: rows(scored) if scored.is_answered else None


def _rouge(column: int, scored: Scored) -> Floats:
    return _each(list(texts.rouge(*scored.pairs)[:, column]))


def _bleu(scored: Scored) -> object:
    return texts.bleu(texts.tokenizer_for(scored.pairs[1]))


def _signed(metric: Callable[[Scored], object]) -> Callable[[Scored], str]:
    def signature(scored: Scored) -> str:
        texts.statistics(metric(scored), *scored.pairs)  # only then it knows the references
        return texts.signature(metric(scored))

    return signature


JUDGED = "reward"  # of answers that rewards judge (--reward)
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name=JUDGED, title="Reward", rows=_of_each("reward"), of=mean),
        Metric(
            name="exact_match",
            title="Exact match",
            kind="share",
            rows=_answered(lambda it: _each([a.answer == a.expected for a in it.samples])),
            of=mean,
        ),
        Metric(name="loss", title="Loss of the answers", better="lower", rows=_losses, of=mean),
        Metric(
            name="perplexity",
            title="Perplexity",
            better="lower",
            rows=_losses,
            of=lambda sums: np.exp(mean(sums)),
        ),
        Metric(
            name="bleu",
            title="BLEU",
            rows=_answered(lambda it: texts.statistics(_bleu(it), *it.pairs)),
            # the score itself does not depend on the tokenizer, which has made the statistics
            of=lambda sums: texts.score(texts.bleu("13a"), sums),
            signature=_signed(_bleu),
            resamples=1000,
        ),
        Metric(
            name="chrf",
            title="chrF",
            rows=_answered(lambda it: texts.statistics(texts.chrf(), *it.pairs)),
            of=lambda sums: texts.score(texts.chrf(), sums),
            signature=_signed(lambda scored: texts.chrf()),
            resamples=1000,
        ),
        *(
            Metric(
                name=name.replace("-", "_"),
                title=name.upper(),
                rows=_answered(partial(_rouge, column)),
                of=mean,
            )
            for column, name in enumerate(texts.ROUGES)
        ),
        Metric(
            name="stops",
            title="Answers that stop",
            kind="share",
            rows=_of_each("stopped"),
            of=mean,
            leads=False,
        ),
        Metric(
            name="length",
            title="Tokens of an answer",
            better="neither",
            rows=_of_each("tokens"),
            of=mean,
            leads=False,
        ),
    )
}
