from pathlib import Path

import pytest

from fine_tuning.values.tables.rewards import NoReward, Reward, located, read_reward


@pytest.mark.parametrize(
    ("words", "reward"),
    [
        ("exact_match", Reward(kind="exact_match")),
        ("exact_match=0.5", Reward(kind="exact_match", weight=0.5)),
        ("length:200=-1", Reward(kind="length", argument="200", weight=-1)),
        ("json_valid", Reward(kind="json_valid")),
        ("regex:^a=b$", Reward(kind="regex", argument="^a=b$")),
        ("regex:x=2=3", Reward(kind="regex", argument="x=2", weight=3)),
    ],
)
def test_a_reward_is_read_with_its_weight(words: str, reward: Reward) -> None:
    assert read_reward(words) == reward


def test_files_and_directories_mean_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert located("my.py:score=2") == f"{tmp_path / 'my.py'}:score=2"
    assert located("runs") == str(tmp_path / "runs")
    assert located("regex:a") == "regex:a"
    assert read_reward("runs") == Reward(kind="model", argument=str(tmp_path / "runs"))
    assert read_reward("my.py:score").name == "score"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("exact", "names no directory, no bundled reward (exact_match, json_valid, regex:PATTERN"),
        ("length", "it is written length:N"),
        ("length:0", "is a number of tokens"),
        ("exact_match:1", "it is written exact_match"),
        ("regex:(", "the pattern is not one"),
    ],
)
def test_what_is_no_reward_is_said(words: str, said: str) -> None:
    with pytest.raises(NoReward) as caught:
        read_reward(words)
    assert said in str(caught.value)
