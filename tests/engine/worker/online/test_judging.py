from pathlib import Path
from typing import Any

import pytest

from fine_tuning.engine.worker.online.judging import Asked, How, Judge, judge_of
from fine_tuning.errors import RowsError
from fine_tuning.values.tables.rewards import read_reward


def asked(answer: str, expected: str = "yes", row: int = 0, tokens: int = 3) -> Asked:
    messages = [{"role": "user", "content": "Is it?"}]
    return Asked(row, {}, messages, [1, 2], expected, answer, list(range(tokens)))


def judge(*words: str, seconds: float = 5) -> Judge:
    return judge_of([read_reward(word) for word in words], How(seconds=seconds))


@pytest.mark.parametrize(
    ("words", "answer", "reward"),
    [
        ("exact_match", " yes\n", 1),
        ("exact_match", "Yes", 0),
        ("json_valid", '{"a": [1]}', 1),
        ("json_valid", "{'a': 1}", 0),
        ("json_valid", "[" * 100_000, 0),
        (r"regex:^\d+$", "42", 1),
        (r"regex:^\d+$", "42!", 0),
    ],
)
def test_bundled_rewards(words: str, answer: str, reward: float) -> None:
    assert judge(words).total([asked(answer)]) == [reward]


def test_a_long_answer_loses_its_reward_by_and_by() -> None:
    lengths = [5, 10, 15, 20, 40]
    rewards = judge("length:10").total([asked("", tokens=it) for it in lengths])
    assert rewards == [1, 1, 0.5, 0, 0]


def test_weights_make_one_sum() -> None:
    assert judge("exact_match=2", "regex:y=-0.5").total([asked("yes"), asked("y")]) == [1.5, -0.5]


def of(folder: Path, code: str, seconds: float = 5) -> Judge:
    path = folder / "my.py"
    path.write_text(code, encoding="utf-8")
    return judge(f"{path}:score", seconds=seconds)


def test_a_function_gets_what_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("ONE = 1", encoding="utf-8")
    code = (
        "import beside\n"
        "def score(answer, prompt, messages, bonus=0):\n"
        "    return beside.ONE + (answer == 'yes') + (prompt == messages[-1]['content'])\n"
    )
    assert of(tmp_path, code).total([asked("yes"), asked("no")]) == [3, 2]


def test_a_function_of_trl_works_as_it_is(tmp_path: Path) -> None:
    code = (
        "def score(prompts, completions, **kwargs):\n"
        "    assert kwargs['expected'] and prompts[0][-1]['role'] == 'user'\n"
        "    return [len(it[0]['content']) for it in completions]\n"
    )
    assert of(tmp_path, code).total([asked("yes"), asked("no")]) == [3, 2]


FAILING: dict[str, tuple[str, str]] = {
    "raises": ("def score(answer):\n    return 1 / (len(answer) - 3)", "my.py:2: return 1 / "),
    "nan": ("def score(answer):\n    return float('nan')", "it gave nan, which is no finite"),
    "none": ("def score(answer):\n    return None", "it gave None, which is no finite number"),
    "text": ("def score(answer):\n    return '1'", "it gave '1', which is no finite number"),
    "count": ("def score(completions):\n    return [1]", "it gave 1 rewards for 2 answers"),
    "together": (
        "def score(completions):\n    return [1 / (len(it[0]['content']) - 3)\n"
        "        for it in completions]",
        "my.py:2: return [1 / ",
    ),
    "slow": ("def score(answer):\n    while True:\n        pass", "longer than 0.2 s"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_reward_that_cannot_be_used_is_named_with_row_answer_and_line(
    name: str, tmp_path: Path
) -> None:
    code, said = FAILING[name]
    with pytest.raises(RowsError) as caught:
        of(tmp_path, code, 0.2).total([asked("well", row=7), asked("yes", row=8)])
    error: Any = caught.value
    assert said in error.what
    assert f"at {tmp_path / 'my.py'}" in error.what
    rows = {"raises": (8,), "together": (8,), "count": ()}
    assert error.rows == rows.get(name, (7,))
    if error.rows:
        assert repr("yes" if error.rows == (8,) else "well") in error.what
    assert "the same command goes on" in error.fix


def test_a_file_that_fails_as_it_is_run_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match=r"ModuleNotFoundError(.|\n)*my.py:1: import no_such"):
        of(tmp_path, "import no_such_module\ndef score(answer): ...")
