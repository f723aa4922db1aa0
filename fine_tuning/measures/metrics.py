"""The metrics of scored rows, one entry each: statistics of every row, and what their sum says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


def _perplexity(sums: Floats) -> Floats:
    found: Floats = np.exp(mean(sums))
    return found


def _each(values: Sequence[float]) -> Floats:
    """Values that count alike."""
    return np.stack([np.array(values, dtype=float), np.ones(len(values))], axis=1)


def _losses(scored: Scored) -> Floats | None:
    if not any(tokens for _, tokens in scored.losses):  # there are none, or prompts alone
        return None
    return np.array(scored.losses, dtype=float)  # None becomes nan


def _are_answered(scored: Scored) -> bool:
    """Whether every row says what is expected: prompts alone say nothing."""
    return bool(scored.samples) and all(it.expected for it in scored.samples)


def _right(scored: Scored) -> Floats | None:
    if not _are_answered(scored):
        return None
    return _each([it.answer == it.expected for it in scored.samples])


def _of_each(field: str) -> Callable[[Scored], Floats | None]:
    """A field of the samples, where all of them have it."""

    def rows(scored: Scored) -> Floats | None:
        values = [getattr(it, field) for it in scored.samples]
        return _each(values) if values and None not in values else None

    return rows


def _pairs(scored: Scored) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        tuple(it.answer for it in scored.samples),
        tuple(it.expected for it in scored.samples),
    )


def _bleu(scored: Scored) -> object:
    return texts.bleu(texts.tokenizer_for(_pairs(scored)[1]))


def _bleu_rows(scored: Scored) -> Floats | None:
    return texts.statistics(_bleu(scored), *_pairs(scored)) if _are_answered(scored) else None


def _chrf_rows(scored: Scored) -> Floats | None:
    return texts.statistics(texts.chrf(), *_pairs(scored)) if _are_answered(scored) else None


def _rouge_rows(column: int) -> Callable[[Scored], Floats | None]:
    def rows(scored: Scored) -> Floats | None:
        if not _are_answered(scored):
            return None
        return _each(list(texts.rouge(*_pairs(scored))[:, column]))

    return rows


def _signed(metric: Callable[[Scored], object]) -> Callable[[Scored], str]:
    def signature(scored: Scored) -> str:
        texts.statistics(metric(scored), *_pairs(scored))  # only then it knows the references
        return texts.signature(metric(scored))

    return signature


JUDGED = "reward"  # of answers that rewards judge (--reward)
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name=JUDGED, title="Reward", rows=_of_each("reward"), of=mean),
        Metric(name="exact_match", title="Exact match", kind="share", rows=_right, of=mean),
        Metric(name="loss", title="Loss of the answers", better="lower", rows=_losses, of=mean),
        Metric(name="perplexity", title="Perplexity", better="lower", rows=_losses, of=_perplexity),
        Metric(
            name="bleu",
            title="BLEU",
            rows=_bleu_rows,
            # the score itself does not depend on the tokenizer, which has made the statistics
            of=lambda sums: texts.score(texts.bleu("13a"), sums),
            signature=_signed(_bleu),
            resamples=1000,
        ),
        Metric(
            name="chrf",
            title="chrF",
            rows=_chrf_rows,
            of=lambda sums: texts.score(texts.chrf(), sums),
            signature=_signed(lambda scored: texts.chrf()),
            resamples=1000,
        ),
        *(
            Metric(
                name=name.replace("-", "_"),
                title=name.upper(),
                rows=_rouge_rows(column),
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
