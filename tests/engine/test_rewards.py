from pathlib import Path

import pytest

from fine_tuning.engine.rewards import compares, refuse_rewards
from fine_tuning.errors import UsageError

FILE = """
import os
raise SystemExit("nobody runs this")
def score(answer, expected, *, strict=False): ...
def solution_reward(completions, solution, **kwargs): ...
def of_trl(completions, prompts, **kwargs): ...
def may_compare(answer, expected=None): ...
other = score
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_functions_of_a_file_are_found_without_running_it(file: Path) -> None:
    refuse_rewards([f"{file}:score", f"{file}:of_trl=2", f"{file}:other", "exact_match"])


def test_a_reward_that_compares_with_the_answer_of_a_row_is_known_by_its_parameters(
    file: Path,
) -> None:
    words = ("exact_match=2", "json_valid", f"{file}:score", f"{file}:of_trl")
    assert [*map(compares, words)] == [True, False, True, False]
    assert not compares(f"{file}:may_compare"), "where there is none it is given an empty text"


def test_every_reward_that_is_of_no_use_is_said_at_once(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def score(:", encoding="utf-8")
    words = [
        f"{file}:scores",
        f"{file}:solution_reward",
        f"{tmp_path}/none.py:score",
        f"{broken}:score",
        "length:x",
        "exact_match",
        "exact_match=2",
    ]
    with pytest.raises(UsageError) as caught:
        refuse_rewards(words)
    said = caught.value.mistakes
    assert len(said) == 6
    assert "defines no function scores (did you mean score?)" in said[0]
    assert "line 5: solution_reward asks for solution;" in said[1]
    assert "there is no file" in said[2]
    assert "is not Python" in said[3]
    assert "number of tokens" in said[4]
    assert "two rewards of the name exact_match" in said[5]
