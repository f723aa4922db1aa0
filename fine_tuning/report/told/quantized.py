"""The merged model and the quantised one, beside each other."""

from collections.abc import Sequence

from fine_tuning.report.told.scores import ScoreRow, score_row
from fine_tuning.values.answers.scores import Score


def beside(scores: Sequence[Score]) -> list[ScoreRow]:
    """Both as text, with the interval of each change."""
    return [score_row(score) for score in scores]


def table_lines(scores: Sequence[Score], name: str) -> list[str]:
    """The table as lines; `name` is the format."""
    table = [("", "merged", name, "change")]
    table += [(row.name, row.before, row.after, row.change) for row in beside(scores)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
