"""Tool calls and their results, reasoning and system prompts, however a dialogue writes them."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from fine_tuning.dataset.convert.plan import Converter, Plan
from tests.dataset.converting import (
    CALL,
    JOINT,
    OPENAI_CALL,
    converted,
    with_call,
)
from tests.dataset.rows_on_disk import chat, messages


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"sum": 3, "字": True}, '{"sum": 3, "字": true}'),
        ([1, 2], "[1, 2]"),
        ([{"a": 1}], '[{"a": 1}]'),
    ],
)
def test_a_tool_result_that_is_an_object_is_read_as_its_json(result: Any, text: str) -> None:
    row, codes = converted("openai", with_call(result))
    assert (row["conversations"][2]["value"], codes) == (text, ["tool_result_json"])
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": result},
        {"from": "gpt", "value": "a"},
    ]
    row, codes = converted("sharegpt", {"conversations": turns})
    assert (row["conversations"][2]["value"], codes) == (text, ["tool_result_json"])


def test_redacted_thinking_is_left_out() -> None:
    parts = [{"type": "redacted_thinking", "data": "EmwK"}, {"type": "text", "text": "a"}]
    row = messages(("user", "q"), ("assistant", parts))
    assert converted("openai", row) == (chat("q", "a"), ["reasoning_ignored"])


def test_lists_of_different_lengths_are_no_turns() -> None:
    row = {"messages": {"role": ["user", "assistant"], "content": ["q"]}}
    assert converted("openai", row) == (None, ["messages_not_list"])


def test_values_of_columnar_files_can_be_arguments() -> None:
    given = {"day": date(2024, 5, 6), "price": Decimal("1.5"), "raw": b"x"}
    call = {"function": {"name": "add", "arguments": given}}
    row, _ = converted("openai", with_call("3", tool_calls=[call]))
    [read] = json.loads(row["conversations"][1]["value"])
    assert read["arguments"] == {"day": "2024-05-06", "price": 1.5, "raw": "x"}


def parallel(*results: tuple[str, str]) -> dict[str, Any]:
    calls = [{**OPENAI_CALL, "id": "1"}, {**OPENAI_CALL, "id": "2"}]
    tools = [{"role": "tool", "tool_call_id": i, "content": text} for i, text in results]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    end = {"role": "assistant", "content": "done"}
    return {"messages": [{"role": "user", "content": "q"}, asked, *tools, end]}


@pytest.mark.parametrize(
    ("results", "read", "codes"),
    [
        ([("1", "a"), ("2", "b")], f"a{JOINT}b", []),
        ([("2", "b"), ("1", "a")], f"a{JOINT}b", ["tool_results_sorted"]),
        ([("1", "a"), ("3", "b")], f"a{JOINT}b", ["tool_id_mismatch"]),
        ([("1", "a")], "a", ["tool_id_mismatch"]),
        ([("1", "a"), ("1", "b")], f"a{JOINT}b", ["tool_id_mismatch"]),
    ],
)
def test_tool_results_are_matched_with_their_calls_by_id(
    results: list[tuple[str, str]], read: str, codes: list[str]
) -> None:
    row, found = converted("openai", parallel(*results))
    assert (row["conversations"][2]["value"], found) == (read, codes)


def test_ids_of_anthropic_parts_are_matched_too() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t2", "content": "r"}
    row = messages(("user", "q"), ("assistant", [call]), ("user", [result]), ("assistant", "a"))
    assert converted("openai", row)[1] == ["tool_id_mismatch"]


@pytest.mark.parametrize(
    ("more", "answer", "codes"),
    [
        ({"content": "a", "thinking": "r"}, "<think>\nr\n</think>\n\na", []),
        (
            {"content": "<think>r</think>a", "reasoning_content": "r"},
            "<think>r</think>a",
            [],
        ),
        (
            {"content": "<think>x</think>a", "reasoning_content": "r"},
            "<think>x</think>a",
            ["reasoning_ignored"],
        ),
    ],
)
def test_reasoning_is_trained_once(more: dict[str, Any], answer: str, codes: list[str]) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", **more}]}
    assert converted("openai", row) == (chat("q", answer), codes)


def test_reasoning_of_a_user_does_not_become_part_of_the_prompt() -> None:
    asked = {"role": "user", "content": "q", "reasoning_content": "r"}
    row = {"messages": [asked, {"role": "assistant", "content": "a"}]}
    assert converted("openai", row) == (chat("q", "a"), ["reasoning_ignored"])


def test_a_system_prompt_of_text_blocks() -> None:
    row = messages(("user", "q"), ("assistant", "a"))
    row["system"] = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    assert converted("openai", row) == (chat("q", "a", system="s"), [])


@pytest.mark.parametrize("tools", [[], {}, "[]", "{}", "null", ""])
def test_no_tools(tools: Any) -> None:
    row = {**messages(("user", "q"), ("assistant", "a")), "tools": tools}
    assert converted("openai", row) == (chat("q", "a"), [])


def test_which_answer_has_the_bad_turn_is_said() -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": ["b", "c"]}
    error = Converter(Plan("preference")).convert(row).error
    assert error == ("turn_malformed", "turn 1 of rejected messages is text; expected an object")
