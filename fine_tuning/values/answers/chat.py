"""What passes between the person at a chat and the model."""

from dataclasses import dataclass, replace
from typing import Any, Literal

Ended = Literal["stop", "length", "asked"]  # by itself, at the limit of tokens, by Ctrl-C


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How an answer is drawn; a temperature of 0 always takes the likeliest token."""

    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0

    @property
    def mistakes(self) -> list[str]:
        """What cannot be meant, each a sentence that begins with the name."""
        found = []
        if not 0 <= self.temperature <= 100:
            found.append(f"temperature must be 0 or more, not {self.temperature:g}.")
        if not 0 < self.top_p <= 1:
            found.append(f"top_p must be above 0 and at most 1, not {self.top_p:g}.")
        if self.max_new_tokens < 1:
            found.append(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}.")
        return found

    def changed(self, name: str, text: str) -> "Sampling":
        """The same with one other number. Raises ValueError with a sentence."""
        types = {"max_new_tokens": int, "temperature": float, "top_p": float}
        if name not in types:
            raise ValueError(f"There is no setting {name}; there are {', '.join(types)}.")
        try:
            made = replace(self, **{name: types[name](text)})
        except ValueError:
            raise ValueError(f"{name} must be a number, not {text!r}.") from None
        if made.mistakes:
            raise ValueError(made.mistakes[0])
        return made


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What was said until now: the system prompt, and (question, answer) of each round."""

    system: str = ""
    rounds: tuple[tuple[str, str], ...] = ()

    def with_round(self, question: str, answer: str) -> "Talk":
        """The same, one round later."""
        return replace(self, rounds=(*self.rounds, (question, answer)))

    @property
    def messages(self) -> list[dict[str, str]]:
        """The rounds as OpenAI's messages."""
        found = [{"role": "system", "content": self.system}] if self.system else []
        for asked, said in self.rounds:
            found += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        return found

    def asking(self, question: str) -> dict[str, Any]:
        """The canonical row (docs/architecture.md) that awaits an answer to this question."""
        turns = []
        for asked, said in self.rounds:
            turns += [{"from": "user", "value": asked}, {"from": "assistant", "value": said}]
        turns.append({"from": "user", "value": question})
        return {"conversations": turns, "system": self.system, "tools": ""}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model said: with its reasoning in `<think>`, without the token that ends it."""

    text: str
    tokens: int
    ended: Ended
