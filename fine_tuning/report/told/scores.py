"""What the scores say: intervals, and the one sentence at the top of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fine_tuning.measures.metrics import JUDGED
from fine_tuning.measures.paired import LEVEL, mcnemar
from fine_tuning.measures.rewards import ACCURACY, MARGIN, WINS
from fine_tuning.report.facts.page import RunFacts
from fine_tuning.units import counted, percent_text
from fine_tuning.values.answers.scores import Score

Mood = Literal["good", "bad", "unsure", "plain"]
# What a reader of the page must know of a metric, by its name in files.
MEANINGS: Mapping[str, str] = {
    "exact_match": "answers that are the expected text, to the letter",
    "loss": "how unlikely the model finds the expected text: lower is better",
    "perplexity": "the same as a number of choices a token: lower is better",
    "bleu": "common runs of words with the expected text, 0 to 100",
    "chrf": "common runs of characters with the expected text, 0 to 100",
    "rouge_1": "common words with the expected text, 0 to 1",
    "rouge_2": "common pairs of words, 0 to 1",
    "rouge_l": "longest common sequence of words, 0 to 1",
    "stops": "answers that the model ended by itself",
    "length": "how long the answers are; neither good nor bad",
    JUDGED: "what --reward gives to the answers: higher is better",
    ACCURACY: "pairs in which the wanted answer gets the higher reward",
    MARGIN: "by how much the wanted answer's reward is the higher one",
    WINS: "prompts whose new answer gets the higher reward; a tie counts half",
}
# A share below this on both sides tells nothing: of prose hardly any answer is the expected text.
NEAR_ZERO = 0.05


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result at one glance: a headline, what it rests on, and whether it is good."""

    headline: str
    detail: str = ""
    mood: Mood = "plain"
    before: str = ""
    after: str = ""
    metric: str = ""
    rows: str = ""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the score table; intervals are shares, None for other numbers."""

    name: str
    before: str
    after: str
    change: str
    mood: Mood
    n: int
    before_interval: tuple[float, float] | None = None
    after_interval: tuple[float, float] | None = None
    before_share: float | None = None
    after_share: float | None = None
    signature: str = ""
    meaning: str = ""


def wilson(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a share, by default at 95%.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212; recommended for small n by Brown, Cai and DasGupta,
    Statistical Science 16 (2001), 101-133.
    """
    if n <= 0:
        return (0.0, 1.0)
    share = min(1.0, max(0.0, successes / n))  # another program may have written the scores
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, middle - half)
    high = 1.0 if successes >= n else min(1.0, middle + half)
    return (low, high)


def score_row(score: Score) -> ScoreRow:
    """The score as text, with intervals where it is a share."""
    return ScoreRow(
        name=score.name,
        before=value_text(score, score.before),
        after=value_text(score, score.after),
        change=_change(score),
        mood=mood(score),
        n=score.n,
        before_interval=_interval(score, score.before),
        after_interval=_interval(score, score.after),
        before_share=score.before if score.kind == "share" else None,
        after_share=score.after if score.kind == "share" else None,
        signature=score.signature,
        meaning=MEANINGS.get(score.metric, ""),
    )


def value_text(score: Score, value: float | None) -> str:
    """A share in percent, any other number with four significant places."""
    if value is None:
        return "not measured"
    return percent_text(value) if score.kind == "share" else f"{value:,.4g}"


def _change(score: Score) -> str:
    if score.before is None or score.after is None:
        return ""
    difference = score.after - score.before
    if difference == 0:
        return "none"
    said = f"{_signed(score, difference)}{' points' if score.kind == 'share' else ''}"
    return said if score.change is None else f"{said} ({change_text(score)})"


def _signed(score: Score, value: float) -> str:
    text = f"{value * 100:+.1f}" if score.kind == "share" else f"{value:+,.3g}"
    return text.replace("-", "−", 1)


def interval_text(score: Score) -> str:
    """The 95% interval of a share after the training, of the change of another number."""
    if score.kind != "share":
        return f"change {change_text(score)}" if score.change else "change not known"
    interval = _interval(score, score.after)
    return " to ".join(map(percent_text, interval)) if interval else "not measured"


def change_text(score: Score) -> str:
    """The 95% interval of the change; of a share in points."""
    assert score.change is not None
    return " to ".join(_signed(score, value) for value in score.change)


def _interval(score: Score, value: float | None) -> tuple[float, float] | None:
    if score.kind != "share" or value is None or score.n <= 0:
        return None
    return wilson(round(value * score.n), score.n)


def mood(score: Score) -> Mood:
    """Better, worse, or not to be told apart by so few rows.

    What two samples of rows would say does not count where the same rows were asked twice.
    """
    if score.before is None or score.after is None or score.better == "neither":
        return "plain"
    if not (math.isfinite(score.before) and math.isfinite(score.after)):
        return "bad"
    gain = score.after - score.before
    gain = gain if score.better == "higher" else -gain
    if gain == 0 or not _is_told(score):
        return "unsure"
    return "good" if gain > 0 else "bad"


def _is_told(score: Score) -> bool:
    """Whether so many rows tell the two sides apart: the same ones, else two samples of rows."""
    if score.moved is not None:
        return mcnemar(*score.moved) <= 1 - LEVEL
    if score.change is not None:
        return not score.change[0] <= 0 <= score.change[1]
    before, after = _interval(score, score.before), _interval(score, score.after)
    return not (before and after and before[0] <= after[1] and after[0] <= before[1])


def verdict(facts: RunFacts) -> Verdict:
    """The one sentence that a reader takes away."""
    if facts.status == "failed" or facts.failure is not None:
        return Verdict(headline="The run failed", mood="bad")
    if facts.status == "interrupted":
        saved = f"{facts.step:,} of {facts.steps:,} steps are saved. " if facts.step else ""
        detail = f"{saved}The same command continues it."
        return Verdict(headline="Stopped before the end", detail=detail, mood="unsure")
    if facts.status == "dry_run":
        return Verdict(headline="Dry run", detail="Everything was prepared, nothing was trained.")
    if facts.status == "running":
        return Verdict(
            headline="Still running", detail="This page shows the run up to its last checkpoint."
        )
    told = [score for score in facts.scores if score.before is not None or score.after is not None]
    if not told:
        detail = "No held-out rows were scored, so this page cannot say what the model learnt."
        return Verdict(headline="Training finished", detail=detail)
    return _scored(leading(told))


def leading(scores: Sequence[Score]) -> Score:
    """The score that says most: a reward, a share of right answers, if there are any, else the
    loss."""
    rewards = [score for score in scores if score.metric == JUDGED]
    shares = [score for score in scores if score.kind == "share" and score.leads]
    others = [score for score in scores if score.kind != "share" and score.leads]
    telling = [score for score in shares if max(score.before or 0, score.after or 0) > NEAR_ZERO]
    return (*rewards, *telling, *others, *shares, *scores)[0]


def _scored(score: Score) -> Verdict:
    before, after = value_text(score, score.before), value_text(score, score.after)
    rows = f" on {counted(score.n, 'held-out row')}" if score.n else ""
    if score.before is None or score.after is None:
        only = after if score.after is not None else before
        when = "after" if score.after is not None else "before"
        headline = f"{score.name} {only} {when} training{rows}"
        return Verdict(headline=headline, metric=score.name)
    found = mood(score)
    return Verdict(
        headline=f"{score.name} {before} → {after}{rows}",
        detail=reading(score, found),
        mood=found,
        before=before,
        after=after,
        metric=score.name,
        rows=rows.strip(),
    )


def reading(score: Score, found: Mood) -> str:
    """Whether the change is one, and how sure that is."""
    if found == "unsure" and score.before == score.after:
        return "Training changed nothing that this score can see."
    if score.moved is not None:
        gained, lost = score.moved
        by = f": {change_text(score)} points" if score.change else ""
        said = f"{gained:,} became right and {lost:,} wrong (McNemar's test at 95%{by})"
        return _paired_reading(score, said, found)
    if score.change is not None:
        said = f"it changed by {change_text(score)} (95% interval)"
        return _paired_reading(score, said, found)
    if found == "unsure":
        return (
            f"The 95% intervals overlap: with {counted(score.n, 'row')} this difference may be "
            "chance. Hold out more rows (--val_size, --score_samples) to tell."
        )
    if found == "bad":
        return "Worse than before training. Look at the samples, the template and the data below."
    if score.kind == "share" and score.n:
        return "The 95% intervals do not overlap: the model learnt this."
    return "Better than before training."


def _paired_reading(score: Score, said: str, found: Mood) -> str:
    """What the change of the same rows says."""
    moved = f"Over the same {counted(score.n, 'row')} {said}"
    if found == "unsure":
        return (
            f"{moved}, which may be chance. Hold out more rows (--val_size, --score_samples) to "
            "tell."
        )
    if found == "bad":
        return f"{moved}: worse than before. Look at the samples, the template and the data below."
    return f"{moved}: the model learnt this."
