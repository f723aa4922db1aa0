"""Facts in, one self-contained HTML page out; without a language it carries all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.disk import files
from fine_tuning.report.compare import Comparison
from fine_tuning.report.drawing.axes import WIDE_HEIGHT, WIDE_WIDTH, Scale
from fine_tuning.report.drawing.chart import line_chart
from fine_tuning.report.drawing.curves import charts, charts_beside
from fine_tuning.report.drawing.histogram import histogram
from fine_tuning.report.facts.collect import collect
from fine_tuning.report.facts.page import CurvePoint, DataAccount, DataFacts, RunFacts, Sample
from fine_tuning.report.pages import shown
from fine_tuning.report.pages.rendering import Page, rendered
from fine_tuning.report.told.findings import finding_cards
from fine_tuning.report.told.ladder import sizes
from fine_tuning.report.told.loading import snippets
from fine_tuning.report.told.proof import proof_text, rewards_text
from fine_tuning.report.told.quantized import beside
from fine_tuning.report.told.scores import change_text, score_row, verdict
from fine_tuning.values.record import RunRecord
from fine_tuning.values.shown import MaskedRow, ProblemGroup

MOST_SAMPLES = 20
MOST_MASKED_ROWS = 8
_MOST_WRONG = 8
_MOST_MASKED = 4000  # characters


def write_run_page(run_dir: Path, record: RunRecord) -> Path:
    """Writes the page of a run, as far as it has come, and gives its path."""
    return write_report(run_dir, collect(run_dir, record), record.settings.lang)


def write_report(run_dir: Path, facts: RunFacts, lang: str | None = None) -> Path:
    """Writes `report.html` into the run's folder and gives its path.

    Works for any part of the facts: a run that failed early gets a page that says so.
    """
    general = facts.moved.general if facts.moved else None
    values = {
        "facts": facts,
        "verdict": verdict(facts),
        "proof": proof_text(facts.proof) if facts.proof else "",
        "rewards": rewards_text(facts.rewards) if facts.rewards else "",
        "scores": [score_row(score) for score in facts.scores],
        "general": score_row(general) if general else None,
        "general_interval": change_text(general) if general and general.change else "",
        "share_scale": Scale(0.0, 1.0, 62.0, 504.0),
        "samples": samples_shown(facts.samples),
        "charts": [
            (line_chart(chart), line_chart(chart, WIDE_WIDTH, WIDE_HEIGHT))
            for chart in charts(facts.curves)
        ],
        "sizes": sizes(facts.ladder) if facts.ladder else None,
        "quantized": beside(facts.quantized_scores),
        "snippets": snippets(facts),
        **_data_values(facts.data, facts.masked),
    }
    named = dict(zip(("model", "data"), facts.subject, strict=True)) if facts.subject else {}
    page = Page(
        kind="run",
        title="{model:v} on {data:v}" if named else facts.title,
        named=named,
        values=values,
        watched=facts.status == "running",
    )
    return _write(run_dir / "report.html", page, lang)


def write_data_report(path: Path, facts: DataFacts, lang: str | None = None) -> Path:
    """Writes the page of `validate` to `path`, in the look of the run's page."""
    values = {"facts": facts, **_data_values(facts.data, facts.masked)}
    return _write(path, Page(kind="data", title=facts.title, values=values), lang)


def write_comparison(
    path: Path,
    comparison: Comparison,
    curves: Sequence[tuple[str, Sequence[CurvePoint]]],
    lang: str | None = None,
) -> Path:
    """Writes the page of several runs beside each other to `path`."""
    values = {
        "comparison": comparison,
        "charts": [
            (line_chart(chart), line_chart(chart, WIDE_WIDTH, WIDE_HEIGHT))
            for chart in charts_beside(curves)
        ],
    }
    page = Page(kind="compare", title=", ".join(comparison.names), values=values)
    return _write(path, page, lang)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run in a list: its words by column, why it failed, and where its page is."""

    cells: Sequence[str]
    trouble: str = ""
    page: str = ""


def runs_page(
    directory: str, columns: Sequence[str], rows: Sequence[RunRow], board: str = ""
) -> str:
    """The page that lists runs, as HTML; `board`: the address of LLaMA Board."""
    named = {"directory": directory}
    values = {**named, "columns": columns, "rows": rows, "board": board}
    return rendered(Page(kind="runs", title="Runs in {directory}", named=named, values=values))


def samples_shown(samples: Sequence[Sample]) -> list[Sample]:
    """Up to 20 samples: some that are still wrong first, since they tell the most."""
    wrong = [sample for sample in samples if sample.correct_after is False]
    if len(samples) <= MOST_SAMPLES:
        right = [sample for sample in samples if sample.correct_after is not False]
        return [*wrong, *right]
    first = wrong[:_MOST_WRONG]
    rest = [sample for sample in samples if not any(sample is other for other in first)]
    return [*first, *rest][:MOST_SAMPLES]


def _data_values(data: DataAccount | None, masked: Sequence[MaskedRow]) -> dict[str, Any]:
    lengths = data.lengths if data else None
    return {
        "data": data,
        "histogram": histogram(lengths) if lengths else None,
        "findings": finding_cards(data.findings) if data else (),
        "problems": problems_shown(data.problems) if data else [],
        "masked": [shown.clip_row(row, _MOST_MASKED) for row in masked[:MOST_MASKED_ROWS]],
    }


def problems_shown(groups: Sequence[ProblemGroup]) -> list[ProblemGroup]:
    """Errors before warnings, the most frequent first."""
    return sorted(groups, key=lambda group: (group.severity != "error", -group.count))


def _write(path: Path, page: Page, lang: str | None) -> Path:
    files.write_text(path, rendered(page, lang))
    return path
