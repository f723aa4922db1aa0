"""A contract as it lies on the disk."""

from dataclasses import replace
from pathlib import Path

from fine_tuning.disk import files
from fine_tuning.errors import DataError, UsageError
from fine_tuning.values.answers.contract import SCHEMA, Contract
from fine_tuning.values.codec import from_json

FIX = "give the contract.json of a run, or write one with `prove --record FILE`"


def read_contract(path: Path) -> Contract:
    """The contract in a file. Raises UsageError if there is none, DataError for another file."""
    if not path.is_file():
        raise UsageError(f"There is no contract {path}.", fix=FIX)
    found = from_json(files.read_json(path, FIX), Contract, named=str(path), fix=FIX)
    if found.schema != SCHEMA:
        raise DataError(f"{path} is of another version ({found.schema}, not {SCHEMA}).", fix=FIX)
    if "fp8" in found.noise or "6 bits" not in found.noise:
        return found
    # of before that format was measured, and was judged so
    return replace(found, noise={**found.noise, "fp8": found.noise["6 bits"]})
