"""Canonical rows as the messages that a client of a server would send."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

Row = Mapping[str, Any]
Message = dict[str, Any]

RESULT_JOINT = "\n</tool_response>\n<tool_response>\n"  # llamafactory/data/converter.py
THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
ID_LENGTH = 9  # Mistral's templates take ids of nine letters and digits, others take any
TOOLS_IN_WORDS = (
    "You can call these functions. To call some, answer with a JSON list of objects with `name` "
    "and `arguments`, and nothing else.\n"
)


@dataclass(frozen=True)
class Abilities:
    """What a chat template takes, as it showed when it rendered small conversations.

    What it does not take is written in words it does take: the system prompt before the first user
    turn's text, functions into the system prompt, calls as the JSON of the row, results as a user
    turn. `reasoning` is the field of a message that it reads reasoning from; None: it stays in the
    text.
    """

    system: bool = True
    tools: bool = True
    calls: bool = True
    arguments: Literal["object", "text"] = "object"
    beside_calls: Literal[""] | None = ""  # the text of a message that only calls
    parallel: bool = True
    reasoning: str | None = None
    close: str = "\n</think>\n\n"  # what stands between reasoning and answer
    end: str = ""  # what follows an answer
    end_of_call: str = ""
    switches: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A row's messages and tools; `answers` are the places of what a model says, by which turn."""

    messages: list[Message]
    tools: list[Any] | None
    answers: list[tuple[int, Mapping[str, Any]]]


def dialogue(row: Row, able: Abilities, default_system: str | None = None) -> Dialogue:
    """The row as the template takes it."""
    tools = json.loads(row["tools"]) if row.get("tools") else None
    if tools is not None and not isinstance(tools, list):
        tools = [tools]
    tools = [_wrapped(tool) for tool in tools] if tools else None
    system = row.get("system") or default_system or ""
    if tools and not able.tools:
        written = TOOLS_IN_WORDS + "\n".join(json.dumps(t, ensure_ascii=False) for t in tools)
        system, tools = "\n\n".join(filter(None, (system, written))), None
    messages: list[Message] = []
    if system and able.system:
        messages.append({"role": "system", "content": system})
    answers: list[tuple[int, Mapping[str, Any]]] = []
    called: list[Message] = []
    before = "" if able.system else system
    for turn in _turns(row["conversations"], able):
        said, value = turn["from"], turn["value"]
        if said == "user":
            messages.append(
                {"role": "user", "content": before + "\n\n" + value if before else value}
            )
            before = ""
        elif said == "tool":
            messages += _results(value, called, able)
        else:
            message = answer_message(turn, able, f"{len(messages)}{system}")
            called = message.get("tool_calls", [])
            answers.append((len(messages), turn))
            messages.append(message)
    return Dialogue(messages, tools, answers)


def _turns(turns: Sequence[Mapping[str, Any]], able: Abilities) -> Iterator[Mapping[str, Any]]:
    """The turns; where a template takes one call at a time, each call is followed by its result."""
    waiting: Mapping[str, Any] | None = None
    for turn in turns:
        if turn["from"] == "function_call" and able.calls and not able.parallel:
            waiting = turn
            continue
        if waiting is not None:
            yield from _by_turns(waiting, turn)
            waiting = None
        else:
            yield turn
    if waiting is not None:
        yield waiting


def _by_turns(called: Mapping[str, Any], answered: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    _, said = reasoning_of(called["value"])
    calls, results = json.loads(said), answered["value"].split(RESULT_JOINT)
    one_each = isinstance(calls, list) and len(calls) == len(results) > 1
    if answered["from"] != "tool" or not one_each:
        return [called, answered]
    block = called["value"][: len(called["value"]) - len(said)]
    found: list[Mapping[str, Any]] = []
    for place, (call, result) in enumerate(zip(calls, results, strict=True)):
        written = json.dumps([call], ensure_ascii=False)
        found.append({**called, "value": written if place else block + written})
        found.append({**answered, "value": result})
    return found


def answer_message(turn: Mapping[str, Any], able: Abilities, salt: str = "") -> Message:
    """What a model said: its text or its calls, the reasoning in the template's own field.

    The ids of calls are made from the call and `salt`, so that they are the same in every run.
    """
    value = turn["value"]
    thought, said = reasoning_of(value)
    block = value[: len(value) - len(said)]  # the reasoning as the row writes it
    calls: list[Message] = []
    if turn["from"] == "function_call" and able.calls:
        read = json.loads(said)
        read = read if isinstance(read, list) else [read]
        calls = [_call(call, able, f"{salt}{place}") for place, call in enumerate(read)]
        said = ""
    text = said if able.reasoning else block + said
    message: Message = {
        "role": "assistant",
        "content": text or (able.beside_calls if calls else ""),
    }
    if able.reasoning and thought:
        message[able.reasoning] = thought
    if calls:
        message["tool_calls"] = calls
    return message


def reasoning_of(value: str) -> tuple[str | None, str]:
    """The reasoning that a text begins with (None: there is none, not even an empty block), and
    the rest."""
    found = THOUGHT.match(value)
    if found is None:
        return None, value
    return found.group(1).strip("\n"), value[found.end() :]


def reasons(turn: Mapping[str, Any]) -> bool:
    """Whether the turn holds reasoning; an empty block is none."""
    thought, _ = reasoning_of(turn["value"])
    return bool(thought and thought.strip())


def _wrapped(tool: Any) -> Any:
    """A definition in OpenAI's form, which templates are written for."""
    if isinstance(tool, dict) and "function" not in tool:
        return {"type": "function", "function": tool}
    return tool


def _call(call: Mapping[str, Any], able: Abilities, salt: str) -> Message:
    arguments = call.get("arguments", {})
    if able.arguments == "text":
        arguments = json.dumps(arguments, ensure_ascii=False)
    key = blake2b((json.dumps(call) + salt).encode(), digest_size=8).hexdigest()[:ID_LENGTH]
    function = {"name": call["name"], "arguments": arguments}
    return {"id": key, "type": "function", "function": function}


def _results(value: str, called: Sequence[Message], able: Abilities) -> list[Message]:
    """The results in a turn, each with the call that it belongs to."""
    if not able.calls:
        return [{"role": "user", "content": value.replace(RESULT_JOINT, "\n\n")}]
    results = value.split(RESULT_JOINT)
    found: list[Message] = []
    for place, result in enumerate(results):
        message: Message = {"role": "tool", "content": result}
        if called:
            call = called[min(place, len(called) - 1)]
            message |= {"tool_call_id": call["id"], "name": call["function"]["name"]}
        found.append(message)
    return found
