"""One row through the converter, and rows with tool calls, for the tests of the conversion."""

import json
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.plan import Converter, Media, Plan

CALL = {"name": "add", "arguments": {"a": 1}}
CALL_TEXT = json.dumps([CALL])
TOOL = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
OPENAI_CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
JOINT = "\n</tool_response>\n<tool_response>\n"


def converted(name: str, row: Any, root: Path = Path()) -> tuple[Any, list[str]]:
    """The canonical row (None: dropped) and the codes."""
    result = Converter(Plan(name, media=Media(root))).convert(row)
    codes = [code for code, _ in result.warnings] + ([result.error[0]] if result.error else [])
    codes = [
        code for code in codes if code != "tools_missing"
    ]  # few of these rows list their tools
    return (json.loads(result.data) if result.data else None), codes


def with_call(*results: Any, calls: int = 1, **call: Any) -> dict[str, Any]:
    asked = {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL] * calls, **call}
    tools = [{"role": "tool", "tool_call_id": "1", "content": result} for result in results]
    end = {"role": "assistant", "content": "done"}
    return {"messages": [{"role": "user", "content": "q"}, asked, *tools, end]}


def tool_row(*values: tuple[str, str], tools: str = "") -> dict[str, Any]:
    turns = [{"from": role, "value": value} for role, value in values]
    return {"conversations": turns, "system": "", "tools": tools}
