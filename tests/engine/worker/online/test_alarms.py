from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.engine.worker.online.alarms import Alarms, repeated
from tests.trainings import Heard

CALM = {
    "reward": 0.5,
    "cut_off": 0.1,
    "frac_reward_zero_std": 0.4,
    "answer_tokens": 50.0,
    "repeated": 0.1,
    "kl": 0.1,
}


def sounded(*logs: dict[str, float]) -> tuple[list[str], list[dict[str, Any]]]:
    heard, history = Heard(), []
    alarms = Alarms(heard.events)
    for step, log in enumerate(logs, 1):
        history.append({**CALM, **log, "step": step})
        state = SimpleNamespace(log_history=history, global_step=step)
        alarms.on_log(None, state, None)
    return list(alarms.sounded.values()), heard.of("note")


def test_a_calm_training_sounds_no_alarm() -> None:
    assert sounded(*[{}] * 8) == ([], [])


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ([{"cut_off": 0.5}] * 6, "step 3: 50% of the answers are cut off"),
        ([{"frac_reward_zero_std": 0.9}] * 6, "step 3: in 90% of the groups all answers get the"),
        ([{"repeated": 0.4}] * 6, "step 3: 40% of the answers' four-token sequences"),
        ([{}] * 3 + [{"kl": 4.0}] * 3, "step 4: the model is 1.4 nats a token away"),
        (
            [{}] * 3 + [{"reward": 0.8, "answer_tokens": 110.0}] * 3,
            "step 6: the reward rises by 0.3 while the answers grow from 50 to 110 tokens",
        ),
    ],
)
def test_an_alarm_sounds_once_with_its_step(logs: list[dict[str, float]], said: str) -> None:
    alarms, notes = sounded(*logs)
    assert len(alarms) == len(notes) == 1
    assert alarms[0].startswith(said)
    assert notes[0]["text"] == alarms[0]


def test_longer_answers_alone_are_no_alarm() -> None:
    assert sounded(*[{}] * 3, *[{"reward": 0.4, "answer_tokens": 500.0}] * 3) == ([], [])


def test_repeats_are_counted_within_an_answer() -> None:
    assert repeated([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]) == 0
    assert repeated([[1, 2, 3, 4, 1, 2, 3, 4]]) == pytest.approx(0.2)
    assert repeated([[7] * 13]) == pytest.approx(0.9)
    assert repeated([[1, 2]]) == 0
