"""Every message about data gives advice, and following it on the input that caused it works.

rows.py and files.py have a case for every code, refusals.py for every error that is raised: a new
one without its case, or other words of advice, fail here.
"""

import ast
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

import fine_tuning
from fine_tuning.dataset.insight.rows import ORIGIN, Origins
from fine_tuning.dataset.prepare.fit import fit_problems, fit_rows
from fine_tuning.dataset.problems import CAUSES, CONTENT
from fine_tuning.dataset.read import READ_PROBLEMS
from fine_tuning.dataset.sources import words
from fine_tuning.errors import FineTuningError
from tests.dataset.advice.files import FILES
from tests.dataset.advice.following import (
    Case,
    Files,
    checked,
    errors,
    files_in,
    uncovered,
    ways_in,
    write,
)
from tests.dataset.advice.refusals import ELSEWHERE, REFUSED, WORDS, Refused
from tests.dataset.advice.rows import ROWS

CASES = {**ROWS, **FILES}
FIXES = {
    code: known.fix for of in (READ_PROBLEMS, CAUSES, CONTENT) for code, known in of.items()
}  # fmt: skip
# Advice that points to the ways in the message, which are followed one by one.
POINTERS = {
    "choose one of these ways",
    "say what it is with one of its flags",
    "say what they are with one of these flags",
    "make rows of it as is said",
}
# Said once tokens are counted (below), where a check cannot start
# (tests/cli/data/test_validate.py), or of a row of 32 MB (tests/dataset/read/test_limits.py).
LATER = {"overlong", "cut_turns", "cut_by_engine", "start_failed", "record_too_long"}
PACKAGE = Path(str(fine_tuning.__file__)).parent
ROOM = [
    *sorted((PACKAGE / "dataset").rglob("*.py")),
    *sorted((PACKAGE / "cli" / "data").glob("*.py")),
    PACKAGE / "cli" / "output" / "report_place.py",
    PACKAGE / "stages" / "preparing" / "check.py",
]
# Raised for our own code: what a caller within the package catches, or must not do.
INNER = {"Unusable", "_RefusedError", "CutShortError", "ValueError", "_TooLongError"}


def read_origins_of(*places: tuple[str, int]) -> Origins:
    """Origins that are not on disk."""
    names = [name for name, _ in places]
    return Origins(names, np.array([(n, line) for n, (_, line) in enumerate(places)], ORIGIN))


Fresh = Callable[[Files], Path]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fresh:
    """Makes the folder that a user stands in, with these files and no others."""

    def make(files: Files) -> Path:
        here = tmp_path / "here"
        shutil.rmtree(tmp_path, ignore_errors=True)
        here.mkdir(parents=True)
        monkeypatch.chdir(here)
        write(here, files)
        return tmp_path

    return make


def of(cases: Mapping[str, Sequence[Case | Refused]]) -> list[object]:
    return [
        pytest.param(code, case, id=f"{code}-{number}")
        for code, listed in cases.items()
        for number, case in enumerate(listed)
    ]


@pytest.mark.parametrize(("code", "case"), of(CASES))
def test_each_part_of_the_advice_for_a_problem_works(fresh: Fresh, code: str, case: Case) -> None:
    folder = fresh(case.files)
    names = case.paths or " ".join(case.files)
    before = checked(folder, names, case.given)
    [group] = [group for group in before.problems if group.code == code]
    said = f"{group.example}; {group.suggestion}"
    inherited = {error for error, _ in errors(before)} - {code}
    for phrase, way in case.ways.items():
        assert phrase.removeprefix("or ") in said
        flags, there = case.given, dict(case.files)
        if isinstance(way, str):
            flags += f" {way}"
        else:
            there |= way
        folder = fresh(there)
        paths = case.paths or " ".join(name for name, held in there.items() if held is not None)
        again = checked(folder, paths, flags)
        assert {error for error, _ in errors(again)} <= inherited, (phrase, again.problems)
        if way == "" or case.stays:
            assert again.rows_kept
        else:
            assert code not in {group.code for group in again.problems}, phrase
    flagged = list(ways_in(group.example))
    folder = fresh(case.files)
    made = files_in(group.example)
    assert group.suggestion not in POINTERS or flagged or made or case.ways
    for flags, paths in [*((way, names) for way in flagged), *([("", made)] if made else [])]:
        again = checked(folder, paths, f"{case.given} {flags}")
        assert not errors(again), (flags, paths, again.problems)


def test_every_problem_has_its_case_and_every_word_of_its_advice_is_followed() -> None:
    assert not FIXES.keys() - CASES.keys() - LATER
    for code in FIXES.keys() & CASES.keys():
        phrases = [phrase for case in CASES[code] for phrase in case.ways]
        if FIXES[code] not in POINTERS:
            assert not uncovered(FIXES[code], phrases), (code, FIXES[code])


@pytest.mark.parametrize(
    ("code", "policy", "rounds"),
    [
        ("overlong", "auto", [100]),
        ("cut_turns", "auto", [40, 100]),
        ("cut_by_engine", "truncate", [100]),
    ],
)
def test_a_row_that_is_too_long_fits_once_the_cutoff_is_raised(
    code: str, policy: str, rounds: list[int]
) -> None:
    origins = read_origins_of(("d.jsonl", 7))

    def said(cutoff: int) -> list[tuple[str, str]]:
        fit = fit_rows("chat", {0: rounds}, cutoff=cutoff, policy=policy, origins=origins)
        return [(problem.code, problem.message) for problem in fit_problems(fit, origins)]

    [(found, message)] = said(50)
    assert (found, CONTENT[code].fix) == (code, "raise --max_seq_length")
    assert said(int(message.partition(" tokens")[0])) == []


@pytest.mark.parametrize(("place", "case"), of({**REFUSED, **WORDS}))
def test_each_part_of_the_advice_of_a_refusal_works(
    fresh: Fresh, place: str, case: Refused
) -> None:
    fresh(case.files)
    with pytest.raises(FineTuningError) as caught:
        case.call(case.words)
    said = " ".join(str(caught.value).split())
    assert case.said in said
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    raised = f"{Path(last.filename).relative_to(PACKAGE)}:{last.name}"
    assert raised in (place.rpartition(" ")[0], "dataset/sources/find.py:_refuse")
    for phrase, way in case.ways.items():
        assert phrase in said
        fresh({**case.files, **({} if isinstance(way, str) else way)})
        case.call(way if isinstance(way, str) else case.words)


def test_every_refusal_has_its_case() -> None:
    assert set(raised_in(ROOM)) == REFUSED.keys() | ELSEWHERE.keys()
    explained = {explain.__name__ for explain in words._EXPLAINED}
    assert explained == WORDS.keys() | {"_hub_page", "_in_hub"}  # test_hub.py: a hub is asked


def raised_in(paths: list[Path]) -> Iterator[str]:
    """Every place that raises something for the user: `module:function number`."""
    for path in paths:
        name = str(path.relative_to(PACKAGE))
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                raises = [call for call in own_raises(function) if called(call) not in INNER]
                yield from (f"{name}:{function.name} {n}" for n in range(1, len(raises) + 1))


def own_raises(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            yield child.exc
        if not isinstance(child, ast.FunctionDef):
            yield from own_raises(child)


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""
