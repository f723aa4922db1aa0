"""A run folder -> what the user reads."""

from fine_tuning.report.collect import collect, lengths_of, masked_of, parity_of
from fine_tuning.report.facts import (
    Artefact,
    CurvePoint,
    DataAccount,
    DataFacts,
    Failure,
    FileRows,
    Lengths,
    Parity,
    Proof,
    RunFacts,
    Sample,
    Score,
    TokenDifference,
)
from fine_tuning.report.write import write_data_report, write_report

__all__ = [
    "Artefact",
    "CurvePoint",
    "DataAccount",
    "DataFacts",
    "Failure",
    "FileRows",
    "Lengths",
    "Parity",
    "Proof",
    "RunFacts",
    "Sample",
    "Score",
    "TokenDifference",
    "collect",
    "lengths_of",
    "masked_of",
    "parity_of",
    "write_data_report",
    "write_report",
]
