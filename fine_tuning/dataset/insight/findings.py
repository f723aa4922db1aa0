"""What was found in the content of a dataset: plain values, ready for JSON."""

from dataclasses import dataclass, field

from fine_tuning.dataset.insight.lengths import LengthDistribution


@dataclass(frozen=True, kw_only=True)
class NearFindings:
    """Near-duplicates: how many rows repeat an earlier one, and in how many clusters."""

    rows: int
    clusters: int
    largest_cluster: int
    threshold: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the numbers hide.

    `counts` holds the rows with each code, whether or not a warning names them one by one;
    `languages` the rows by writing system of the answer; `labels` the KTO labels;
    `near` is None where nobody looked. `notes` are sentences for the user.
    """

    rows: int
    counts: dict[str, int]
    kinds: dict[str, int]
    languages: dict[str, int]
    prompt_chars: LengthDistribution
    answer_chars: LengthDistribution
    turns: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    near: NearFindings | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
