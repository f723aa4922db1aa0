"""Whether rewards can be used, before anything is loaded: no code of a user's is run here."""

import ast
from collections.abc import Sequence
from difflib import get_close_matches

from fine_tuning.errors import UsageError
from fine_tuning.values.tables.rewards import (
    OF_MANY_ANSWERS,
    OF_ONE_ANSWER,
    NoReward,
    Reward,
    read_reward,
)


def refuse_rewards(words: Sequence[str]) -> None:
    """Raise UsageError, with every mistake, for rewards that do not exist or cannot be called."""
    mistakes, found = [], []
    for word in words:
        try:
            reward = read_reward(word)
        except NoReward as error:
            mistakes.append(str(error))
            continue
        if reward.kind == "function" and (mistake := _not_callable(reward)):
            mistakes.append(f"--reward {word}: {mistake}")
        elif reward.name in found:
            mistakes.append(f"--reward {word}: there are two rewards of the name {reward.name}.")
        found.append(reward.name)
    if mistakes:
        raise UsageError(mistakes, fix="docs/online.md shows each kind of reward")


def compares(words: str) -> bool:
    """Whether the reward that these words name compares with the row's answer."""
    reward = read_reward(words)
    if reward.kind != "function":
        return reward.kind == "exact_match"
    tree = ast.parse(reward.file.read_bytes(), str(reward.file))
    found = [it for it in tree.body if isinstance(it, ast.FunctionDef) and it.name == reward.name]
    return any("expected" in _needed(it) for it in found)


def _not_callable(reward: Reward) -> str:
    """Why the file has no such function that could be called; empty if it has, or may have."""
    try:
        tree = ast.parse(reward.file.read_bytes(), str(reward.file))
    except OSError:
        return f"there is no file {reward.file}."
    except (SyntaxError, ValueError) as error:
        return f"{reward.file} is not Python ({error})."
    defined = {it.name: it for it in tree.body if isinstance(it, ast.FunctionDef)}
    function = defined.get(reward.name)
    if function is not None:
        return _not_given(function)
    if any(reward.name in ast.dump(it) for it in tree.body if not isinstance(it, ast.FunctionDef)):
        return ""  # it may be made otherwise than by `def`
    near = get_close_matches(reward.name, list(defined), n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{reward.file} defines no function {reward.name}{hint}."


def _not_given(function: ast.FunctionDef) -> str:
    """Which parameter it needs that no reward is called with."""
    names = [it.arg for it in (*function.args.posonlyargs, *function.args.args)]
    given = OF_MANY_ANSWERS if "completions" in names else OF_ONE_ANSWER
    unknown = [name for name in _needed(function) if name not in given]
    if not unknown:
        return ""
    return (
        f"line {function.lineno}: {function.name} asks for {', '.join(unknown)}; a reward of one "
        f"answer may ask for {', '.join(OF_ONE_ANSWER)}, and one of many, as TRL calls it, for "
        f"{', '.join(OF_MANY_ANSWERS)}."
    )


def _needed(function: ast.FunctionDef) -> list[str]:
    """The parameters that it cannot be called without."""
    args = function.args
    names = [it.arg for it in (*args.posonlyargs, *args.args)]
    needed = names[: len(names) - len(args.defaults)]
    return needed + [
        it.arg for it, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if not default
    ]
