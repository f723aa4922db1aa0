"""What was answered in a chat, kept for a program that asked for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fine_tuning.cli.chat.reasoning import parted
from fine_tuning.cli.chat.talk import Answers
from fine_tuning.engine.process.chatting import BASE
from fine_tuning.values.answers.chat import Answer, Ended, Sampling, Talk


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer."""

    question: Annotated[str, "what was asked"]
    answer: Annotated[str, "the text without its reasoning"]
    reasoning: Annotated[str, "what stood in <think>"]
    tokens: Annotated[int, "that were generated"]
    ended: Annotated[Ended, "stop: by itself; length: at --max_new_tokens; asked: by Ctrl-C"]
    tuned: Annotated[bool, "false: the base model answered"]
    who: Annotated[str, "who answered: tuned, base, together, or the name of an adapter"]


@dataclass(frozen=True)
class Heard:
    """Somebody who answers, with everything that was said."""

    answers: Answers
    said: list[Said]

    @property
    def names(self) -> Sequence[str]:
        """As of who answers."""
        return self.answers.names

    @property
    def keeps_history(self) -> bool:
        """As of who answers."""
        return self.answers.keeps_history

    def answer(
        self,
        talk: Talk,
        question: str,
        how: Sampling,
        *,
        who: str,
        on_text: Callable[[str], None],
    ) -> Answer:
        """The answer, which is kept."""
        answer = self.answers.answer(talk, question, how, who=who, on_text=on_text)
        reasoning, text = parted(answer.text)
        self.said.append(
            Said(
                question=question,
                answer=text,
                reasoning=reasoning,
                tokens=answer.tokens,
                ended=answer.ended,
                tuned=who != BASE,
                who=who,
            )
        )
        return answer
