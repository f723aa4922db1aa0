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


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What was said until now: the system prompt, and (question, answer) of each round."""

    system: str = ""
    rounds: tuple[tuple[str, str], ...] = ()

    def with_round(self, question: str, answer: str) -> "Talk":
        """The same, one round later."""
        return replace(self, rounds=(*self.rounds, (question, answer)))

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
