"""A run's record, or a check -> what the user reads."""

from fine_tuning.report.compare import Compared, Comparison, compare, curves_beside
from fine_tuning.report.facts.account import data_account, masked_of, parity_of
from fine_tuning.report.facts.chain import link_of
from fine_tuning.report.facts.collect import collect, load_meanwhile, score_lines
from fine_tuning.report.facts.page import DataFacts, RunFacts
from fine_tuning.report.write import (
    RunRow,
    runs_page,
    write_comparison,
    write_data_report,
    write_report,
    write_run_page,
)

__all__ = [
    "Compared",
    "Comparison",
    "DataFacts",
    "RunFacts",
    "RunRow",
    "collect",
    "compare",
    "curves_beside",
    "data_account",
    "link_of",
    "load_meanwhile",
    "masked_of",
    "parity_of",
    "runs_page",
    "score_lines",
    "write_comparison",
    "write_data_report",
    "write_report",
    "write_run_page",
]
