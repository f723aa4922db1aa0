"""Every code that a reader can give is described, documented, and met in the corpus."""

import re
from pathlib import Path

import fine_tuning.dataset.read as package
from fine_tuning.dataset.read import READ_PROBLEMS

from .corpus import CASES

SOURCES = sorted(Path(str(package.__file__)).parent.rglob("*.py"))
GIVEN = re.compile(
    r'(?:Finding|unreadable|_RefusedError|warn_file|file_problem|problem=)\(\s*"(\w+)"'
    r'|yield "(\w+)", '
)
# Needs a record of more than 128 MiB; see test_long_records. The other: see test_columnar.
NOT_IN_CORPUS = {"record_too_long", "struct_nulls"}


def given() -> set[str]:
    found: set[str] = set()
    for path in SOURCES:
        for match in GIVEN.finditer(path.read_text(encoding="utf-8")):
            found.add(match[1] or match[2])
    return found


def test_every_code_in_the_source_is_described() -> None:
    assert given() == set(READ_PROBLEMS)


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data-files.md").read_text(encoding="utf-8")
    for code, problem in READ_PROBLEMS.items():
        assert f"| `{code}` | {problem.severity} | {problem.title} | {problem.fix} |" in page


def test_every_code_has_a_case_and_one_severity() -> None:
    met = {(code, severity) for case in CASES for _, code, severity in case.problems}
    expected = {(code, problem.severity) for code, problem in READ_PROBLEMS.items()}
    assert {pair for pair in expected if pair[0] not in NOT_IN_CORPUS} == met
