"""For each answer of a row: the text that a server sends, and the text that the model then writes.

What a server sends is the template over the messages before, with a generation prompt. What the
model writes is what the template makes of the answer behind that, up to its end; where a template
writes history in another way than a prompt, it is put together from its parts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fine_tuning.engine.worker.served.text.chat_template import ChatTemplate, Refused
from fine_tuning.engine.worker.served.text.messages import (
    Abilities,
    Dialogue,
    Message,
    answer_message,
    dialogue,
    reasoning_of,
    reasons,
)

Row = Mapping[str, Any]
Stop = Literal["token", "text", "missing"]
OPENED = re.compile(r"[<\[](?![^<>\[\]]*END)[^<>\[\]\s/]*think[^<>\[\]\s/]*[>\]]\s*$", re.I)
CLOSED = re.compile(r"<think>\s*</think>\s*$")
SENTINEL = "Zqanswer"
LONGEST_MARK = 100


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: its context as a server sends it, and what the model writes.

    `stop` says what ends it: a token that the template writes (the last `ending` letters of
    `answer`), text that it writes, or nothing.
    """

    context: str
    answer: str
    stop: Stop
    ending: int
    trained: bool
    round_ends: bool


@dataclass(frozen=True)
class Dialogues:
    """A chat template with what it takes, the tokens that end answers, and the user's wishes.

    `thinking` None: on where the answer reasons, off where it does not. `whole`: a conversation is
    judged, not continued, so it is read as the template writes all of it.
    """

    template: ChatTemplate
    able: Abilities
    special: tuple[str, ...]
    thinking: bool | None = None
    default_system: str | None = None
    whole: bool = False

    def turns(self, row: Row, kind: str) -> list[Turn]:
        """The answers of a row that are trained or scored, in order; of a preference row the
        better and the worse one, of a rated one (kto) the last."""
        talk = dialogue(row, self.able, self.default_system)
        if kind == "preference":
            return list(self._compared(row, talk))
        if self.whole:
            return [self._judged(talk.messages, talk)]
        wanted = talk.answers[-1:] if kind == "kto" else talk.answers
        return [self._turn(talk, place, turn) for place, turn in wanted]

    def _compared(self, row: Row, talk: Dialogue) -> Iterator[Turn]:
        """Both answers follow one prompt: it is asked to think where the better one does."""
        on = self._asked(row["chosen"])
        for name in ("chosen", "rejected"):
            turn = row[name]
            messages = [*talk.messages, answer_message(turn, self.able)]
            if self.whole:
                yield self._judged(messages, talk)
                continue
            yield self._turn(Dialogue(messages, talk.tools, []), len(talk.messages), turn, on)

    def _judged(self, messages: Sequence[Message], talk: Dialogue) -> Turn:
        """A whole conversation. Its end is where a reward is read: the token that the template
        writes last, which is often the new line behind the one that ends the answer."""
        text = self.template.render(messages, talk.tools, prompt=False, thinking=self.thinking)
        return Turn("", text, "token", 0, True, True)

    def _asked(self, turn: Mapping[str, Any]) -> bool | None:
        if not self.able.switches:
            return None
        return reasons(turn) if self.thinking is None else self.thinking

    def _turn(
        self, talk: Dialogue, place: int, turn: Mapping[str, Any], thinking: bool | None = None
    ) -> Turn:
        """Raises Refused if the template does not render the turns before."""
        thinking = self._asked(turn) if thinking is None else thinking
        before, said = talk.messages[:place], talk.messages[place]
        context = self.template.render(before, talk.tools, prompt=True, thinking=thinking)
        written = self._written([*before, said], talk, thinking)
        answer = self._behind(context, written, turn, said)
        if answer is None:
            answer = self._composed(context, written, before, talk, turn, thinking)
        answer, stop, ending = self._ended(answer, turn)
        complete = turn["from"] == "assistant" and turn.get("weight") != 0
        return Turn(context, answer, stop, ending, turn.get("weight") != 0, complete)

    def _written(
        self, messages: Sequence[Message], talk: Dialogue, thinking: bool | None
    ) -> str | None:
        try:
            return self.template.render(messages, talk.tools, prompt=False, thinking=thinking)
        except Refused:
            return None

    def _behind(
        self, context: str, written: str | None, turn: Mapping[str, Any], said: Message
    ) -> str | None:
        """What the template writes behind the prompt, if all of the answer is in it."""
        if written is None or not written.startswith(context):
            return None
        answer = written[len(context) :]
        thought, text = reasoning_of(turn["value"])
        parts = [thought or "", "" if said.get("tool_calls") else text]
        parts += [call["function"]["name"] for call in said.get("tool_calls", ())]
        return answer if all(part.strip() in answer for part in parts) else None

    def _composed(
        self,
        context: str,
        written: str | None,
        before: Sequence[Message],
        talk: Dialogue,
        turn: Mapping[str, Any],
        thinking: bool | None,
    ) -> str:
        """The answer behind a prompt that the template's history does not begin with.

        Its reasoning is closed if the prompt has opened it, and opened by the model if not.
        """
        opened = _at_end(OPENED, context)
        thought, text = reasoning_of(turn["value"])
        has_calls = self.able.calls and turn["from"] == "function_call"
        said = _aligned(context, written, opened) if written is not None else None
        if said is None or (not has_calls and text.strip() not in said):
            sample = {"role": "assistant", "content": SENTINEL}
            shown = self._written([*before, sample], talk, thinking) or SENTINEL
            said = text + shown[shown.rindex(SENTINEL) + len(SENTINEL) :]
        if thought and thought.strip() and thought.strip() not in said:
            begun = thought.strip("\n") + self.able.close
            return (begun if opened else "<think>\n" + begun) + said.lstrip("\n")
        if opened and not said.lstrip().startswith(self.able.close.strip()):
            return self.able.close + said.lstrip("\n")
        return said

    def _ended(self, answer: str, turn: Mapping[str, Any]) -> tuple[str, Stop, int]:
        """The answer up to its end: white space behind the token that ends it is not generated."""
        stripped = answer.rstrip()
        if stripped.endswith(self.special):
            token = max((t for t in self.special if stripped.endswith(t)), key=len)
            return stripped, "token", len(token)
        next_begins = self.able.end_of_call if turn["from"] == "function_call" else self.able.end
        if next_begins:
            token = max((t for t in self.special if next_begins.endswith(t)), key=len)
            return answer + next_begins, "token", len(token)
        _, text = reasoning_of(turn["value"])
        bare = turn["from"] == "assistant" and stripped.endswith(text.rstrip())
        return stripped, "missing" if bare else "text", 0


def _aligned(context: str, written: str, opened: "re.Match[str] | None") -> str | None:
    """What stands in `written` behind the end of the prompt, where only earlier parts differ."""
    cut = opened.start() if opened else None
    closed = _at_end(CLOSED, context)
    for end in (cut, closed.start() if closed else None, len(context)):
        if end is not None and written.startswith(context[:end]):
            return written[end:]
    context = context[:cut] if cut is not None else context
    fits, fails = 0, len(context) + 1
    while fails - fits > 1:  # the longest end of the prompt that the history has too
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if context[-middle:] in written else (fits, middle)
    if not fits:
        return None
    return written[written.rindex(context[-fits:]) + fits :]


def _at_end(pattern: "re.Pattern[str]", text: str) -> "re.Match[str] | None":
    return pattern.search(text, max(0, len(text) - LONGEST_MARK))
