"""Shapes that people post and that have one meaning: how they are read."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.posted import ASK, PAIR_OF_TURNS, PAIRS, SAY, codes, rows, turns
from tests.dataset.rows_on_disk import account, canonical


@pytest.mark.parametrize(
    "flag",
    [
        {"loss": False},
        {"train": False},
        {"loss_weight": 0.0},
        {"weight": 0},
        {"trainable": False},
        {"masked": True},
        {"mask": 1},
        {"training": "false"},
        {"loss_mask": 0},
        {"ignore_loss": True},
        {"loss_scale": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
def test_an_answer_that_its_author_does_not_train_is_not_trained(
    tmp_path: Path, flag: dict[str, Any], keys: tuple[str, str]
) -> None:
    def make(q: str, a: str, n: int) -> Any:
        listed = [dict(zip(keys, t.values(), strict=True)) for t in turns(q, "Bad.", q + "!", a)]
        listed[1] |= flag
        return {"messages": listed}

    data = account(tmp_path, rows(make))
    assert [t.get("weight") for t in canonical(data)[0]["conversations"]] == [None, 0, None, None]
    assert codes(data) == {"answers_untrained"} | ({"role_renamed"} & codes(data))


@pytest.mark.parametrize("flag", [{"loss_weight": 0.3}, {"train_detail": [{"begin_offset": 0}]}])
def test_a_part_of_a_weight_is_said_to_be_lost(tmp_path: Path, flag: dict[str, Any]) -> None:
    data = account(tmp_path, rows(lambda q, a, n: {"messages": [*turns(q), turns(q, a)[1] | flag]}))
    assert codes(data) == {"weight_ignored"}
    assert [group.effect for group in data.problems] == ["loss"]


@pytest.mark.parametrize(
    "make",
    [
        lambda q, a, n: {"conversation": [{"input": q, "output": a}]},
        lambda q, a, n: {"conversations": [{"human": q, "assistant": a}]},
        lambda q, a, n: {"messages": [{"user": q}, {"assistant": a}]},
        lambda q, a, n: {"messages": [{"question": q, "answer": a}]},
        lambda q, a, n: {"messages": [{"role": "user", "content": [{"text": q}]}, turns(q, a)[1]]},
        lambda q, a, n: {
            "contents": [
                {"role": "user", "parts": [{"text": q}]},
                {"role": "model", "parts": [{"text": a}]},
            ]
        },
        lambda q, a, n: {
            "messages": [
                {"role": "user", "content": [{"type": "text", "value": q}], "loss_weight": 0.0},
                {"role": "assistant", "content": [{"type": "text", "value": a}]},
            ]
        },
        lambda q, a, n: {"human": q, "assistant": a},
        lambda q, a, n: {"input": {"messages": turns(q)}, "expectedOutput": turns(q, a)[1]},
        lambda q, a, n: {"input": q, "expected_output": a, "metadata": {"id": n}},
        lambda q, a, n: {
            "id": "t",
            "input": turns(q),
            "output": turns(q, a)[1],
            "observations": [],
        },
        lambda q, a, n: {"dialog": [q, a], "act": [1, 2], "emotion": [0, 0]},
        lambda q, a, n: {"conversation": [q, a, "Thanks."]},
        lambda q, a, n: {"conversation": f"User: {q}\nAssistant: {a}"},
        lambda q, a, n: {"chat": f"USER: {q}\n\n\nASSISTANT: {a} <|endoftext|>\n"},
        lambda q, a, n: {
            "uuid": str(n),
            "chat_messages": [{"sender": "human", "text": q}, {"sender": "assistant", "text": a}],
        },
        lambda q, a, n: {
            "turns": [
                {"speaker": "USER", "utterance": q},
                {"speaker": "SYSTEM", "utterance": a},
            ]
        },
        lambda q, a, n: {
            "messages": [{"type": "human", "content": q}, {"type": "ai", "content": a}]
        },
        lambda q, a, n: {
            "messages": [
                {"type": "human", "data": {"content": q}},
                {"type": "ai", "data": {"content": a}},
            ]
        },
        lambda q, a, n: {"id": n, "chat": {"title": "Valve", "messages": turns(q, a)}},
        lambda q, a, n: {
            "messages": [{"role": "customer", "content": q}, {"role": "agent", "content": a}]
        },
        lambda q, a, n: {"custom_id": str(n), "body": {"model": "m", "messages": turns(q, a)}},
        lambda q, a, n: {"messages": str(turns(q, a))},
        lambda q, a, n: {"Question": q, "Answer": a},
        lambda q, a, n: {"问题": q, "答案": a},
        lambda q, a, n: {"q": q, "a": a},
        lambda q, a, n: {"对话": [{"角色": "用户", "内容": q}, {"角色": "助手", "内容": a}]},
        lambda q, a, n: {"items": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]},
        lambda q, a, n: {"department": "内科", "title": "t", "ask": q, "answer": a},
        lambda q, a, n: {"question": q, "answer": [a]},
    ],
)
def test_a_dialogue_is_read_in_every_form_of_its_turns(tmp_path: Path, make: Any) -> None:
    data = account(tmp_path, rows(make))
    found = canonical(data)[0]["conversations"]
    assert [(turn["from"], turn["value"]) for turn in found] == PAIR_OF_TURNS
    assert data.rows_kept == len(PAIRS)
    assert not [group for group in data.problems if group.severity == "error"]


@pytest.mark.parametrize(
    ("columns", "prompt"),
    [
        ({"context": "C"}, "{q}\nC"),
        ({"passage": "C"}, "{q}\nC"),
        ({"choices": ["x", "y"]}, "{q}\nA. x\nB. y"),
        ({"options": {"A": "x", "B": "y"}}, "{q}\nA. x\nB. y"),
        ({"choices": {"text": ["x", "y"], "label": ["A", "B"]}}, "{q}\nA. x\nB. y"),
    ],
)
def test_what_the_question_is_about_stands_in_the_prompt(
    tmp_path: Path, columns: dict[str, Any], prompt: str
) -> None:
    data = account(tmp_path, rows(lambda q, a, n: {"question": q, "answer": a, **columns}))
    assert canonical(data)[0]["conversations"][0]["value"] == prompt.format(q=ASK[0])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        *product(
            ("output", "answer"),
            ("reasoning_content", "reasoning", "thinking", "cot", "complex_cot"),
        ),
        # content alone is no answer: beside these it is
        *product(("content",), ("reasoning_content", "reasoning", "thinking")),
    ],
)
def test_a_column_of_reasoning_stands_before_the_answer(
    tmp_path: Path, name: str, answer: str
) -> None:
    ask = "input" if answer == "content" and name in ("reasoning", "thinking") else "question"
    made = rows(lambda q, a, n: {ask: q, answer: a, name: f"Because {n}."})
    data = account(tmp_path, made)
    text = canonical(data)[0]["conversations"][1]["value"]
    assert text == f"<think>\nBecause 0.\n</think>\n\n{SAY[0]}"


def test_a_switch_called_reasoning_is_none(tmp_path: Path) -> None:
    data = account(tmp_path, rows(lambda q, a, n: {"input": q, "output": a, "reasoning": "off"}))
    assert canonical(data)[0]["conversations"][1]["value"] == SAY[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda q, a, n: {"messages": turns(q, a), "rejected_response": "No idea."},
        lambda q, a, n: {"prompt": q, "chosen_response": a, "rejected_response": "No idea."},
        lambda q, a, n: {"instruction": q, "output": a, "rejected": "No idea."},
        lambda q, a, n: {
            "input": {"messages": turns(q), "tools": []},
            "preferred_output": turns(q, a)[1:],
            "non_preferred_output": turns(q, "No idea.")[1:],
        },
    ],
)
def test_a_rejected_answer_makes_a_pair(tmp_path: Path, make: Any) -> None:
    data = account(tmp_path, rows(make))
    row = canonical(data)[0]
    assert (data.kind, row["chosen"]["value"], row["rejected"]["value"]) == (
        "preference",
        SAY[0],
        "No idea.",
    )


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("desirable", "undesirable"), (1, -1)])
def test_labels_in_words_are_read(tmp_path: Path, good: Any, bad: Any) -> None:
    made = rows(lambda q, a, n: {"prompt": q, "completion": a, "label": bad if n % 2 else good})
    data = account(tmp_path, made)
    assert [row["label"] for row in canonical(data)] == [True, False, True, False]


def test_a_call_that_stands_as_text_is_kept_and_said(tmp_path: Path) -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    listed = [
        *turns("What time is it?", call),
        {"role": "tool", "content": "<tool_response>9</tool_response>"},
        {"role": "assistant", "content": "It is nine."},
    ]
    data = account(tmp_path, [{"messages": listed}])
    assert (data.rows_kept, codes(data)) == (1, {"tool_call_as_text"})


def test_an_answer_before_its_call_is_accepted_and_said_to_be_lost(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now"}}]}
    end = [{"role": "tool", "content": "9"}, {"role": "assistant", "content": "Nine."}]
    tools = [{"name": "now", "parameters": {"type": "object", "properties": {}}}]
    row = {"messages": [*turns("Time?", "I look."), call, *end], "tools": tools}
    data = account(tmp_path, [row])
    assert (data.rows_kept, codes(data)) == (1, {"tool_call_text_dropped"})


def test_choices_with_an_answer_key_and_answers_that_are_true_or_false(tmp_path: Path) -> None:
    keyed = {"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
    data = account(tmp_path, rows(lambda q, a, n: {"question": q, **keyed}))
    assert [t["value"] for t in canonical(data)[0]["conversations"]] == [
        f"{ASK[0]}\nA. x\nB. y",
        "B",
    ]
    data = account(tmp_path, rows(lambda q, a, n: {"question": q, "answer": n > 0, "passage": a}))
    said = [row["conversations"][1]["value"] for row in canonical(data)]
    assert said == ["false", "true", "true", "true"]


def test_calls_that_are_the_answer_are_calls_where_tools_are_listed(tmp_path: Path) -> None:
    calls = [{"name": "now", "arguments": {"zone": "CET"}}]
    tools = [{"name": "now", "description": "d", "parameters": {"zone": {"type": "str"}}}]
    made = rows(
        lambda q, a, n: {"query": q, "answer": json.dumps(calls), "tools": json.dumps(tools)}
    )
    row = canonical(account(tmp_path, made))[0]
    assert row["conversations"][1] == {"from": "function_call", "value": json.dumps(calls)}
    assert json.loads(row["tools"])[0]["parameters"]["properties"] == {"zone": {"type": "str"}}
