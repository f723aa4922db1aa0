"""What a chat template takes: found by rendering small conversations, as servers do."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from fine_tuning.engine.worker.served.text.chat_template import ChatTemplate, Refused
from fine_tuning.engine.worker.served.text.messages import Abilities
from fine_tuning.errors import ModelError

# Words that no template writes by itself.
SYSTEM, ASKED, SAID, THOUGHT = "Zqsystem", "Zqquestion", "Zqanswer", "Zqthought"
NAME, ARGUMENT, RESULT, NEXT = "zqfunction", "zqargument", "Zqresult", "Zqnext"
TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Looks something up.",
        "parameters": {
            "type": "object",
            "properties": {ARGUMENT: {"type": "string", "description": "what"}},
            "required": [ARGUMENT],
        },
    },
}
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
# Values that servers leave out and some templates count on, the fewest first.
MISSING: tuple[Mapping[str, Any], ...] = (
    {},
    {"tools": []},
    {"bos_token": ""},
    {"bos_token": "", "tools": []},
)
FORMS_OF_CALLS: tuple[Mapping[str, Any], ...] = tuple(
    {"beside_calls": beside, "arguments": arguments}
    for beside, arguments in product(("", None), ("object", "text"))
)
USER = {"role": "user", "content": ASKED}
ANSWER = {"role": "assistant", "content": SAID}


def probe(template: ChatTemplate, stops: Collection[str]) -> tuple[ChatTemplate, Abilities]:
    """The template with what it needs to be given, and what it takes.

    `stops` are the tokens at which a server ends an answer. Raises ModelError if it renders not
    even one question.
    """
    template = _rendering(template)
    system = _shows(template, [{"role": "system", "content": SYSTEM}, USER], SYSTEM, ASKED)
    tools = _shows(template, [USER], NAME, ASKED, tools=[TOOL])
    able = Abilities(system=system, tools=tools, switches=template.switches)
    able = _with_calls(template, able)
    able = _with_reasoning(template, able)
    called = _calling(able)
    end_of_call = _end(template, called, _result(NEXT), RESULT, stops) if able.calls else ""
    end = _end(template, ANSWER, {"role": "user", "content": NEXT}, SAID, stops)
    return template, replace(able, end=end, end_of_call=end_of_call)


def _rendering(template: ChatTemplate) -> ChatTemplate:
    """The template with the values without which it renders nothing."""
    why = ""
    for given in MISSING:
        known = {name: value for name, value in given.items() if name not in template.tokens}
        tried = replace(template, given=known)
        try:
            if ASKED in tried.render([USER], prompt=True):
                return tried
            why = why or "it leaves out what the user says"
        except Refused as error:
            why = why or str(error)
    raise ModelError(
        "The chat template of this model does not render one plain question.",
        why=why,
        fix="no server could use it either: mend chat_template in the model's directory",
    )


def _rendered(template: ChatTemplate, messages: list[Any], **how: Any) -> str | None:
    try:
        return template.render(messages, **{"prompt": False, **how})
    except Refused:
        return None


def _shows(template: ChatTemplate, messages: list[Any], *marks: str, tools: Any = None) -> bool:
    text = _rendered(template, messages, tools=tools, prompt=True)
    return text is not None and all(mark in text for mark in marks)


def _calling(able: Abilities, calls: int = 1) -> dict[str, Any]:
    written = f'{{"{ARGUMENT}": "{RESULT}"}}'
    arguments: Any = {ARGUMENT: RESULT} if able.arguments == "object" else written
    function = {"name": NAME, "arguments": arguments}
    return {
        "role": "assistant",
        "content": able.beside_calls,
        "tool_calls": [{"id": "zq0000000", "type": "function", "function": function}] * calls,
    }


def _result(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text, "tool_call_id": "zq0000000", "name": NAME}


def _with_calls(template: ChatTemplate, able: Abilities) -> Abilities:
    """In which form calls are rendered with their results, if they are."""
    for form in FORMS_OF_CALLS:
        tried = replace(able, **form)
        if _takes_calls(template, tried, 1):
            return replace(tried, parallel=_takes_calls(template, tried, 2))
    return replace(able, calls=False)


def _takes_calls(template: ChatTemplate, able: Abilities, calls: int) -> bool:
    defined = [TOOL] if able.tools else None
    messages = [USER, _calling(able, calls), *[_result(SAID)] * calls]
    text = _rendered(template, messages, tools=defined, prompt=True)
    if text is None:
        return False
    without = _rendered(template, [USER], tools=defined, prompt=True) or ""
    added = text.count(NAME) > without.count(NAME)
    escaped = f'\\"{ARGUMENT}\\"' in text  # the JSON of arguments as a text inside JSON
    return added and RESULT in text and SAID in text and not escaped


def _with_reasoning(template: ChatTemplate, able: Abilities) -> Abilities:
    for field in REASONING_FIELDS:
        messages = [USER, {**ANSWER, field: THOUGHT}]
        text = _rendered(template, messages, thinking=True)
        if text and THOUGHT in text and SAID in text:
            between = text[text.rindex(THOUGHT) + len(THOUGHT) : text.rindex(SAID)]
            return replace(able, reasoning=field, close=between)
    return able


def _end(
    template: ChatTemplate,
    said: Mapping[str, Any],
    following: Mapping[str, Any],
    mark: str,
    stops: Collection[str],
) -> str:
    """The first token behind an answer at which a server stops, with the white space before it,
    as it is written when another turn follows: some templates write it only then, and of some it
    is what begins the next turn. Empty if there is none."""
    text = _rendered(template, [USER, said, following], prompt=True)
    if text is None or NEXT not in text or mark not in text:
        return ""
    between = text[text.rindex(mark) + len(mark) : text.rindex(NEXT)]
    places = [(between.find(stop), stop) for stop in stops if stop in between]
    if not places:
        return ""
    at, stop = min(places)
    before = between[:at]
    return between[len(before.rstrip()) if before.strip() else 0 : at + len(stop)]
