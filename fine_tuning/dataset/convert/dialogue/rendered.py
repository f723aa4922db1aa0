"""A dialogue that a chat template rendered as text, read back into turns."""

import re
from dataclasses import dataclass

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.dialogue.message import Dialogue
from fine_tuning.dataset.convert.values import Unusable, is_blank, shown
from fine_tuning.dataset.recognise.formats import role_names


@dataclass(frozen=True, slots=True)
class Markup:
    """One way to render: what opens a turn (a group names its role), and marks that mean nothing
    by themselves."""

    opening: re.Pattern[str]
    marks: re.Pattern[str] = re.compile(r"(?!)")


_SPOKEN = (
    r"Human|Assistant|User|AI|Bot|System|Question|Answer|Q|A|USER|ASSISTANT|SYSTEM|HUMAN|BOT"
    r"|问|答|用户|助手|FUNCTION RESPONSE"
)
# The most telling first.
MARKUPS: tuple[Markup, ...] = (
    Markup(
        re.compile(r"<\|im_start\|>[ \t]*(?P<role>\w+)[ \t]*\n?"),
        re.compile(r"<\|im_end\|>|<\|endoftext\|>|</?s>"),
    ),
    Markup(
        re.compile(r"<\|start_header_id\|>\s*(?P<role>\w+)\s*<\|end_header_id\|>\s*"),
        re.compile(r"<\|(?:eot_id|end_of_text|eom_id|begin_of_text)\|>"),
    ),
    Markup(
        re.compile(r"<start_of_turn>\s*(?P<role>\w+)\s*\n?"),
        re.compile(r"<end_of_turn>|<eos>|<bos>"),
    ),
    Markup(
        re.compile(r"<[|｜](?P<role>(?i:user|assistant|system|human|bot))[|｜]>[ \t]*\n?"),
        re.compile(r"<\|(?:end|endoftext)\|>|</?s>|<｜(?:end|begin)▁of▁sentence｜>"),
    ),
    Markup(
        re.compile(r"\[(?P<role>/?INST)\]"),
        re.compile(r"</?s>"),
    ),
    Markup(  # also without line breaks between the turns
        re.compile(r"### ?(?P<role>Human|Assistant|User)\s*:[ \t]*"),
        re.compile(r"<\|endoftext\|>|</?s>"),
    ),
    Markup(
        re.compile(r"^#{2,3} ?(?P<role>Instruction|Input|Response|Human|Assistant|User|System)\s*:",
                   re.MULTILINE),
        re.compile(r"<\|endoftext\|>|</?s>|^#{2,3} ?End\s*$", re.MULTILINE),
    ),
    Markup(
        re.compile(rf"^[ \t]*(?P<role>{_SPOKEN})[ \t]*[:：]", re.MULTILINE),
        re.compile(r"</?s>|<\|endoftext\|>"),
    ),
)  # fmt: skip
_ROLES = {
    "inst": "user",
    "/inst": "assistant",
    "instruction": "user",
    "input": "user",
    "response": "assistant",
    "question": "user",
    "answer": "assistant",
    "q": "user",
    "a": "assistant",
    "function response": "tool",
    "问": "user",
    "答": "assistant",
    "用户": "user",
    "助手": "assistant",
}
_SYSTEM = re.compile(r"\s*<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)


def is_rendered(text: str) -> str:
    """What opens the first turn of a rendered dialogue; nothing if both sides do not speak."""
    for markup in MARKUPS:
        found = list(markup.opening.finditer(text))
        if {"user", "assistant"} <= {_role(match["role"]) for match in found}:
            return found[0][0].strip()
    return ""


def read_rendered(text: str) -> Dialogue:
    """The turns; what stands before the first one is the system prompt."""
    for markup in MARKUPS:
        found = list(markup.opening.finditer(text))
        if {"user", "assistant"} <= {_role(match["role"]) for match in found}:
            return _turns(text, markup, found)
    raise Unusable("turn_malformed", f"no rendered dialogue begins here: {shown(text)}")


def _turns(text: str, markup: Markup, found: list[re.Match[str]]) -> Dialogue:
    dialogue = Dialogue(system=markup.marks.sub("", text[: found[0].start()]).strip())
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        role = _role(match["role"])
        value = markup.marks.sub("", text[match.end() : end]).strip()
        if inner := _SYSTEM.match(value):
            dialogue.system, value = inner[1], value[inner.end() :]
        if role == "system":
            dialogue.system = value
        elif dialogue.turns and dialogue.turns[-1].role == role == "user":
            dialogue.turns[-1].value += f"\n{value}"  # `### Input:` below `### Instruction:`
        elif is_blank(value):
            code = "answer_empty" if role == "assistant" else "turn_empty"
            raise Unusable(code, f"turn {len(dialogue.turns) + 1} of the dialogue is empty")
        else:
            dialogue.turns.append(Turn(role, value))
    return dialogue


def _role(written: str) -> str:
    name = written.lower()
    return _ROLES.get(name) or role_names().get(name, "user")
