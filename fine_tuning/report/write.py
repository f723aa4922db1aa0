"""Facts in, one self-contained HTML page out."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fine_tuning import files
from fine_tuning.report import shown
from fine_tuning.report.compare import Comparison
from fine_tuning.report.drawing.axes import WIDE_HEIGHT, WIDE_WIDTH, Scale
from fine_tuning.report.drawing.chart import line_chart
from fine_tuning.report.drawing.curves import charts, charts_beside
from fine_tuning.report.drawing.histogram import histogram
from fine_tuning.report.facts.collect import collect
from fine_tuning.report.facts.page import CurvePoint, DataAccount, DataFacts, RunFacts, Sample
from fine_tuning.report.findings import finding_cards
from fine_tuning.report.loading import snippets
from fine_tuning.report.proof import proof_text, rewards_text
from fine_tuning.report.scores import score_row, verdict
from fine_tuning.units import bytes_text, counted, duration_text, percent_text
from fine_tuning.values.record import RunRecord
from fine_tuning.values.shown import MaskedRow, ProblemGroup

MOST_SAMPLES = 20
MOST_MASKED_ROWS = 8
_MOST_WRONG = 8
_MOST_MASKED = 4000  # characters
_PAGE = Path(__file__).parent / "page"


def write_run_page(run_dir: Path, record: RunRecord) -> Path:
    """Writes the page of a run, as far as it has come, and gives its path."""
    return write_report(run_dir, collect(run_dir, record))


def write_report(run_dir: Path, facts: RunFacts) -> Path:
    """Writes `report.html` into the run's folder and gives its path.

    Works for any part of the facts: a run that failed early gets a page that says so.
    """
    values = {
        "facts": facts,
        "verdict": verdict(facts),
        "proof": proof_text(facts.proof) if facts.proof else "",
        "rewards": rewards_text(facts.rewards) if facts.rewards else "",
        "scores": [score_row(score) for score in facts.scores],
        "share_scale": Scale(0.0, 1.0, 62.0, 504.0),
        "samples": samples_shown(facts.samples),
        "charts": [
            (line_chart(chart), line_chart(chart, WIDE_WIDTH, WIDE_HEIGHT))
            for chart in charts(facts.curves)
        ],
        "snippets": snippets(facts),
        **_data_values(facts.data, facts.masked),
    }
    return _write(run_dir / "report.html", "run.html.j2", values)


def write_data_report(path: Path, facts: DataFacts) -> Path:
    """Writes the page of `validate` to `path`, in the look of the run's page."""
    values = {"facts": facts, **_data_values(facts.data, facts.masked)}
    return _write(path, "data.html.j2", values)


def write_comparison(
    path: Path, comparison: Comparison, curves: Sequence[tuple[str, Sequence[CurvePoint]]]
) -> Path:
    """Writes the page of several runs beside each other to `path`."""
    values = {
        "facts": {"title": ", ".join(comparison.names)},
        "comparison": comparison,
        "charts": [
            (line_chart(chart), line_chart(chart, WIDE_WIDTH, WIDE_HEIGHT))
            for chart in charts_beside(curves)
        ],
    }
    return _write(path, "compare.html.j2", values)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run in a list: its words by column, why it failed, and where its page is."""

    cells: Sequence[str]
    trouble: str = ""
    page: str = ""


def runs_page(title: str, columns: Sequence[str], rows: Sequence[RunRow], board: str = "") -> str:
    """The page that lists runs, as HTML; `board`: the address of LLaMA Board."""
    values = {"facts": {"title": title}, "columns": columns, "rows": rows, "board": board}
    return shown.printable(_environment().get_template("runs.html.j2").render(values))


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


def _write(path: Path, template: str, values: Mapping[str, Any]) -> Path:
    files.write_text(path, shown.printable(_environment().get_template(template).render(values)))
    return path


def _environment() -> Environment:
    """Escapes everything: rows and answers are untrusted, and only our own script may run."""
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_PAGE / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(
        style=Markup((_PAGE / "page.css").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        policy=(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            f"form-action 'none'; script-src 'sha256-{digest}'"
        ),
        token_runs=shown.token_runs,
    )
    environment.filters.update(
        bytes=bytes_text,
        clip=shown.clip,
        counted=counted,
        count=lambda number: f"{number:,}",
        duration=duration_text,
        newlines=shown.with_newlines,
        ticks=shown.with_code,
        percent=percent_text,
        title_text=shown.title,
    )
    return environment
