"""Metrics of the user's own, and what is wrong with them."""

from pathlib import Path

import pytest

from fine_tuning.cli.eval.gate import ANSWERS, read_gate
from fine_tuning.cli.eval.own import read_metrics
from fine_tuning.errors import DataError, UsageError
from fine_tuning.measures.compare import score_of
from tests.measures.scored import scored

TEXT = """
def short(question, expected, answer) -> bool:
    return len(answer) <= len(expected)

def words(answer, **rest):
    return len(answer.split())

def broken(question, expected, answer):
    return answer[99]

def endless(question, expected, answer):
    return float("nan")

def other(row):
    return 1

loss = short
"""
BEFORE = scored([("a b c", "a")] * 20)
AFTER = scored([("a", "a")] * 18 + [("a b", "a")] * 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my metrics.py"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_function_is_a_metric_with_its_interval(file: Path) -> None:
    own = read_metrics([f"{file}:short", f"{file}:words"], ANSWERS)
    short = score_of(own["short"], BEFORE, AFTER)
    assert short and (short.kind, short.before, short.after) == ("share", 0, 0.9)
    assert short.moved == (18, 0) and short.change and short.change[0] > 0.5
    words = score_of(own["words"], BEFORE, AFTER)
    assert words and (words.kind, words.before, words.after) == ("number", 3, 1.1)
    assert words.change and words.change[1] < -1.7


def test_a_gate_names_it(file: Path, tmp_path: Path) -> None:
    own = read_metrics([f"{file}:short"], ANSWERS)
    gate = tmp_path / "gate.yaml"
    gate.write_text("short: {at_least: 0.8, better_by: 0.95}")
    assert [line.held((BEFORE, AFTER)).holds for line in read_gate(gate, own)] == [True, False]
    gate.write_text("forgetting.short: {at_least: 0.8}")
    with pytest.raises(UsageError, match="is no metric"):
        read_gate(gate, own)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "has no attribute 'missing'"),
        ("other", "unexpected keyword argument|missing a required argument"),
        ("loss", "there is a metric loss already"),
        ("no name", "there is no such file and function"),
    ],
)
def test_what_is_no_metric_is_refused_at_once(file: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_metrics([f"{file}:{name}"], ANSWERS)


def test_a_file_that_does_not_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import no_such_package_here")
    with pytest.raises(UsageError, match=r"m\.py:f cannot be used: ModuleNotFoundError"):
        read_metrics([f"{tmp_path / 'm.py'}:f"], ())
    with pytest.raises(UsageError) as caught:
        read_metrics(["no.py:f", "neither"], ())
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("name", "says"), [("broken", "IndexError"), ("endless", "gave nan, which is no number")]
)
def test_a_function_that_fails_is_named_with_the_answer(file: Path, name: str, says: str) -> None:
    own = read_metrics([f"{file}:{name}"], ())
    with pytest.raises(DataError, match=says) as caught:
        score_of(own[name], BEFORE, AFTER)
    assert "'a b c'" in caught.value.why
