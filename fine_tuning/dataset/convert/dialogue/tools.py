"""Tool calls and tool definitions, as LLaMA-Factory's formatter reads them.

Its FunctionFormatter takes `{"name": ..., "arguments": {...}}` or a list of these, after an
optional <think> part (llamafactory/data/formatter.py), and raises on anything else in the middle
of a run; so everything else is found here.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.values import Notes, Unusable, is_blank, shown

THINK_PREFIX = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


def to_json(value: Any) -> str:
    """JSON text as LLaMA-Factory's own converter writes it; of a columnar file also dates."""
    return json.dumps(value, ensure_ascii=False, default=_columnar_value)


def _columnar_value(value: Any) -> Any:
    """JSON for a value that only columnar files have: a decimal, a date, bytes of text."""
    if isinstance(value, Decimal):
        return float(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def one_call(call: Any) -> dict[str, Any]:
    """A call as LLaMA-Factory reads it, from OpenAI's, Anthropic's or its own form."""
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call = call["function"]
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise Unusable("tool_call_malformed", f"tool call {shown(call)} has no name")
    arguments: Any = next(
        (call[k] for k in ("arguments", "parameters") if call.get(k) is not None), {}
    )
    if isinstance(arguments, str):  # OpenAI writes the arguments as JSON text
        try:
            arguments = msgspec.json.decode(arguments) if arguments.strip() else {}
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Unusable(
                "tool_call_malformed",
                f"arguments of the call of {call['name']!r} are not JSON: {shown(arguments)}",
            ) from error
    if not isinstance(arguments, dict):
        raise Unusable(
            "tool_call_malformed",
            f"arguments of the call of {call['name']!r} are not an object: {shown(arguments)}",
        )
    return {"name": call["name"], "arguments": arguments}


def calls_text(calls: list[Any], reasoning: str = "") -> str:
    """The text of a function_call turn."""
    return reasoning + to_json([one_call(call) for call in calls])


def call_turn(content: str) -> str:
    """A function_call turn that is text already, checked; kept to the letter where it is right."""
    think = THINK_PREFIX.match(content)
    start = think.end() if think else 0
    try:
        calls = msgspec.json.decode(content[start:])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unusable("tool_call_malformed", f"tool call is not JSON: {shown(content)}") from error
    listed = calls if isinstance(calls, list) else [calls]
    if not listed:
        raise Unusable("tool_call_malformed", "tool call is an empty list")
    read = [one_call(call) for call in listed]
    return content if read == listed else content[:start] + to_json(read)


def join_calls(first: str, second: str) -> str:
    """Two function_call turns as one, which LLaMA-Factory reads as parallel calls."""
    think = THINK_PREFIX.match(first)
    start = think.end() if think else 0
    calls: list[Any] = []
    for text in (first[start:], second):
        think = THINK_PREFIX.match(text)
        decoded = msgspec.json.decode(text[think.end() if think else 0 :])
        calls += decoded if isinstance(decoded, list) else [decoded]
    return first[:start] + to_json(calls)


def tools_text(tools: Any, notes: Notes) -> str:
    """Tool definitions as JSON text; "" for none."""
    if not tools or (isinstance(tools, str) and is_blank(tools)):
        return ""
    written = tools
    if isinstance(tools, str):
        try:
            tools = msgspec.json.decode(tools)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            message = f"tools are not JSON: {shown(written)}"
            raise Unusable("tools_malformed", message) from error
        if not tools:  # [], {} or null
            return ""
    if isinstance(tools, dict):
        tools = tools["tools"] if isinstance(tools.get("tools"), list) else [tools]
    if not isinstance(tools, list):
        raise Unusable("tools_malformed", f"tools are not a list: {shown(written)}")
    read = [_one_tool(inner, notes) for tool in tools for inner in _declared(tool)]
    return written if isinstance(written, str) and read == tools else to_json(read)


def _declared(tool: Any) -> list[Any]:
    """The tools of a list's element, which may wrap them (Gemini's declarations, Bedrock's)."""
    if not isinstance(tool, dict):
        return [tool]
    for key in ("functionDeclarations", "function_declarations"):
        if isinstance(tool.get(key), list):
            return list(tool[key])
    spec = tool.get("toolSpec")
    if not isinstance(spec, dict):
        return [tool]
    schema = spec.get("inputSchema", {})
    parameters = schema.get("json", schema) if isinstance(schema, dict) else schema
    rest = {key: value for key, value in spec.items() if key != "inputSchema"}
    return [{**rest, "parameters": parameters}]


def warn_unlisted_calls(turns: Sequence[Turn], tools: str, notes: Notes) -> None:
    """Say which calls are of a tool that the row does not list: a model can only guess those."""
    known = msgspec.json.decode(tools) if tools else []
    listed = {
        str(tool.get("function", tool).get("name"))
        for tool in (known if isinstance(known, list) else [known])
    }
    for number, turn in enumerate(turns, 1):
        if turn.role != "function_call":
            continue
        think = THINK_PREFIX.match(turn.value)
        calls = msgspec.json.decode(turn.value[think.end() if think else 0 :])
        for call in calls if isinstance(calls, list) else [calls]:
            if not tools:
                notes.warn(
                    "tools_missing", f"turn {number} calls {call['name']!r}; no tool is listed"
                )
                return
            if call["name"] not in listed:
                there = ", ".join(sorted(listed))[:100]
                what = f"turn {number} calls {call['name']!r}, which is not listed ({there})"
                notes.warn("tool_unlisted", what)


def _are_properties(parameters: dict[str, Any]) -> bool:
    """Whether each parameter is described under its name, without a schema around (xLAM)."""
    described = (isinstance(value, dict) and "type" in value for value in parameters.values())
    return bool(parameters) and all(described)


def _one_tool(tool: Any, notes: Notes) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) and "function" in tool else tool
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unusable("tools_malformed", f"tool {shown(tool)} has no name")
    if "input_schema" in function:  # Anthropic's name for the parameters
        function = {("parameters" if k == "input_schema" else k): v for k, v in function.items()}
        tool = function
    parameters = function.get("parameters")
    if isinstance(parameters, dict) and _are_properties(parameters):
        parameters = {"type": "object", "properties": parameters}
        function = tool = {**function, "parameters": parameters}
    if isinstance(parameters, dict) and isinstance(parameters.get("properties"), dict):
        return dict(tool)
    if (
        parameters is None
        or parameters == {}
        or (isinstance(parameters, dict) and parameters.get("properties") is None)
    ):
        # LLaMA-Factory reads parameters.properties of every tool and raises without it.
        name = function["name"]
        notes.warn("tool_parameters_missing", f"tool {name!r} has no parameters; read as none")
        filled = {**(parameters or {}), "type": "object", "properties": {}}
        function = {**function, "parameters": filled}
        return {**tool, "function": function} if tool.get("function") is not None else function
    raise Unusable("tools_malformed", f"parameters of tool {function['name']!r} are not a schema")
