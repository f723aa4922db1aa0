"""Signs that a model learns to please its rewards, or nothing: said once, and kept."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from fine_tuning.engine.worker.events import Events
from fine_tuning.units import percent_text

WINDOW = 3  # logs that are looked at together: one may be chance
Logs = Sequence[Mapping[str, float]]


def _mean(logs: Logs, name: str) -> float:
    found = [log[name] for log in logs if name in log]
    return fmean(found) if found else 0.0


def _cut_off(logs: Logs) -> str:
    share = _mean(logs[-WINDOW:], "cut_off")
    if share <= 0.3:
        return ""
    return (
        f"{percent_text(share)} of the answers are cut off before their end, and are rewarded as "
        "they are: give a larger --max_completion_length, or a reward for short ones (length:N)"
    )


def _same_rewards(logs: Logs) -> str:
    share = _mean(logs[-WINDOW:], "frac_reward_zero_std")
    if share <= 0.7:
        return ""
    return (
        f"in {percent_text(share)} of the groups all answers get the same reward, which teaches "
        "nothing: give a reward with more steps, more answers a group (--num_generations), or a "
        "higher --temperature"
    )


def _longer(logs: Logs) -> str:
    first, last = logs[:WINDOW], logs[-WINDOW:]
    before, after = _mean(first, "answer_tokens"), _mean(last, "answer_tokens")
    gain = _mean(last, "reward") - _mean(first, "reward")
    if len(logs) < 2 * WINDOW or gain <= 0 or after < 2 * before:
        return ""
    return (
        f"the reward rises by {gain:.3g} while the answers grow from {before:,.0f} to {after:,.0f} "
        "tokens: it may pay for length; read some answers, or add length:N"
    )


def _repeated(logs: Logs) -> str:
    share = _mean(logs[-WINDOW:], "repeated")
    if share <= 0.3:
        return ""
    return (
        f"{percent_text(share)} of the answers' four-token sequences are repeats within the same "
        "answer: the model may be caught in loops"
    )


def _distance(logs: Logs) -> str:
    distance = _mean(logs[-WINDOW:], "kl")
    if distance <= 1.0:
        return ""
    return (
        f"the model is {distance:.2g} nats a token away from the one that it started as (KL): a "
        "larger --beta or a smaller --learning_rate keeps it closer"
    )


# The names are those under which an alarm is kept; each says nothing, or what it saw.
ALARMS: Mapping[str, Callable[[Logs], str]] = {
    "cut off": _cut_off,
    "same rewards": _same_rewards,
    "longer": _longer,
    "repeated": _repeated,
    "distance": _distance,
}


class Alarms(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Says each alarm once, at the step at which it sounds first."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.sounded: dict[str, str] = {}

    def on_log(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        logs = [log for log in state.log_history if "reward" in log]
        for name, alarm in ALARMS.items():
            text = alarm(logs) if len(logs) >= WINDOW else ""
            if text and name not in self.sounded:
                self.sounded[name] = f"step {state.global_step:,}: {text}"
                self._events.note(self.sounded[name])


def repeated(answers: Sequence[Sequence[int]], size: int = 4) -> float:
    """The share of n-grams that stand in the same answer before, over all answers."""
    total = distinct = 0
    for ids in answers:
        grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
        total += len(grams)
        distinct += len(set(grams))
    return 1 - distinct / total if total else 0.0
