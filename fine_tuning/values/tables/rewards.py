"""What `--reward` names, one row a kind: how good a sampled answer is, as a number."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fine_tuning.disk.paths import at_home

RewardKind = Literal["exact_match", "json_valid", "regex", "length", "function", "model"]
WEIGHT = re.compile(r"^(?P<what>.+)=(?P<weight>[-+]?\d+(\.\d+)?)$", re.DOTALL)
FUNCTION = re.compile(r"^(?P<file>.+\.py):(?P<name>\w+)$")
ONE = "reward of "  # and its name: one of several rewards, among the metrics of scored rows
# What a kind of our own means, with its argument (empty: it takes none).
BUNDLED: Mapping[RewardKind, tuple[str, str]] = {
    "exact_match": ("", "1 where the answer is the row's, but for white space around it, else 0"),
    "json_valid": ("", "1 where the answer is a JSON document, else 0"),
    "regex": ("PATTERN", "1 where the pattern is found in the answer, else 0"),
    "length": ("N", "1 up to N tokens, falling to 0 at twice as many"),
}
# What a function may ask for, by the names of its parameters. One with `completions` is called
# once for many answers, as TRL calls its own, with lists; any other once for each.
OF_ONE_ANSWER = ("answer", "expected", "prompt", "messages")
OF_MANY_ANSWERS = ("completions", "prompts", "expected", "completion_ids")


class NoReward(ValueError):
    """Why some words name no reward, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Reward:
    """One reward and its weight in the sum.

    `argument`: the pattern, the number of tokens, `FILE.py:FUNCTION`, or the model's directory.
    """

    kind: RewardKind
    argument: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """How it is called on the screen and in logs."""
        if self.kind == "function":
            return self.argument.rpartition(":")[2]
        if self.kind == "model":
            return Path(self.argument).name
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def file(self) -> Path:
        """Of a function: the file that it is in."""
        return Path(self.argument.rpartition(":")[0])


def read_reward(words: str) -> Reward:
    """The reward that these words name: `exact_match`, `length:200=0.5`, `my.py:score`, `runs/rm`.

    Raises NoReward.
    """
    found = WEIGHT.match(words)
    what = found["what"] if found else words
    weight = float(found["weight"]) if found else 1.0
    if function := FUNCTION.match(what):
        file = at_home(function["file"]).absolute()
        return Reward(kind="function", argument=f"{file}:{function['name']}", weight=weight)
    name, _, argument = what.partition(":")
    for kind, (wanted, _) in BUNDLED.items():
        if name != kind:
            continue
        if bool(wanted) != bool(argument):
            shape = f"{kind}:{wanted}" if wanted else kind
            raise NoReward(f"--reward {words}: it is written {shape}.")
        return Reward(kind=kind, argument=_checked(kind, argument, words), weight=weight)
    directory = at_home(what).absolute()
    if directory.is_dir():
        return Reward(kind="model", argument=str(directory), weight=weight)
    shapes = ", ".join(
        f"{kind}:{wanted}" if wanted else kind for kind, (wanted, _) in BUNDLED.items()
    )
    raise NoReward(
        f"--reward {words} names no directory, no bundled reward ({shapes}), and no function of "
        "your own (FILE.py:FUNCTION)."
    )


def _checked(kind: RewardKind, argument: str, words: str) -> str:
    if kind == "length" and not (argument.isdecimal() and int(argument) > 0):
        raise NoReward(
            f"--reward {words}: the length is a number of tokens, for example length:200."
        )
    if kind == "regex":
        try:
            re.compile(argument)
        except re.error as error:
            raise NoReward(f"--reward {words}: the pattern is not one ({error}).") from None
    return argument


def located(words: str) -> str:
    """The same words with absolute paths, so that they mean the same from any folder."""
    try:
        reward = read_reward(words)
    except NoReward:
        return words
    if reward.kind not in ("function", "model"):
        return words
    return f"{reward.argument}={reward.weight:g}" if WEIGHT.match(words) else reward.argument
