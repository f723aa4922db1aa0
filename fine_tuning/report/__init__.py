"""A run's record, or a check -> what the user reads."""

from fine_tuning.report.account import data_account, masked_of, parity_of
from fine_tuning.report.collect import collect, score_lines
from fine_tuning.report.facts import DataFacts, RunFacts
from fine_tuning.report.write import write_data_report, write_report

__all__ = [
    "DataFacts",
    "RunFacts",
    "collect",
    "data_account",
    "masked_of",
    "parity_of",
    "score_lines",
    "write_data_report",
    "write_report",
]
