"""What each shape of row becomes, and what is said about the ones that cannot be used."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.convert.plan import Converter, Media, Plan
from tests.dataset.converting import (
    CALL,
    CALL_TEXT,
    JOINT,
    TOOL,
    converted,
    tool_row,
    with_call,
)
from tests.dataset.rows_on_disk import PIXEL, chat, messages

GOOD: dict[str, tuple[str, Any, Any]] = {
    "alpaca": ("alpaca", {"instruction": "q", "input": "", "output": "a"}, chat("q", "a")),
    "alpaca input": (
        "alpaca",
        {"instruction": "q", "input": "i", "output": "a"},
        chat("q\ni", "a"),
    ),
    "alpaca input alone": (
        "alpaca",
        {"instruction": "", "input": "i", "output": "a"},
        chat("i", "a"),
    ),
    "alpaca null input": (
        "alpaca",
        {"instruction": "q", "input": None, "output": "a"},
        chat("q", "a"),
    ),
    "alpaca history and system": (
        "alpaca",
        {"instruction": "q", "output": "a", "history": [["h", "g"]], "system": "s"},
        chat("h", "g", "q", "a", system="s"),
    ),
    "alpaca aliases": ("alpaca", {"query": "q", "response": "a"}, chat("q", "a")),
    "sharegpt": (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        chat("q", "a"),
    ),
    "sharegpt role and content, system turn": (
        "sharegpt",
        {
            "conversations": [
                {"role": "system", "content": "s"},
                {"role": "User", "content": "q"},
                {"role": "chatgpt", "content": "a"},
            ]
        },
        chat("q", "a", system="s"),
    ),
    "sharegpt calls": (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "3"},
                {"from": "gpt", "value": "a"},
            ],
            "tools": json.dumps([TOOL]),
        },
        tool_row(
            ("user", "q"),
            ("function_call", json.dumps(CALL)),
            ("tool", "3"),
            ("assistant", "a"),
            tools=json.dumps([TOOL]),
        ),
    ),
    "belle dialogue": (
        "belle",
        {
            "instruction": "Human:你好\nAssistant:好\nHuman:再见\nAssistant:",
            "input": "",
            "output": "再见",
        },
        chat("你好", "好", "再见", "再见"),
    ),
    "belle single": ("belle", {"instruction": "q", "input": "", "output": "a"}, chat("q", "a")),
    "openai developer": (
        "openai",
        messages(("developer", "s"), ("user", "q"), ("assistant", "a")),
        chat("q", "a", system="s"),
    ),
    "openai text parts": (
        "openai",
        messages(
            ("user", [{"type": "text", "text": "q"}, {"type": "text", "text": "r"}]),
            ("assistant", "a"),
        ),
        chat("qr", "a"),
    ),
    "openai reasoning": (
        "openai",
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "reasoning_content": "r\n"},
            ]
        },
        chat("q", "<think>\nr\n</think>\n\na"),
    ),
    "openai tool calls": (
        "openai",
        with_call("3"),
        tool_row(("user", "q"), ("function_call", CALL_TEXT), ("tool", "3"), ("assistant", "done")),
    ),
    "openai two results are joined": (
        "openai",
        with_call("3", "4", calls=2),
        tool_row(
            ("user", "q"),
            ("function_call", json.dumps([CALL, CALL])),
            ("tool", f"3{JOINT}4"),
            ("assistant", "done"),
        ),
    ),
    "anthropic": (
        "openai",
        {
            "system": "s",
            "messages": [
                {"role": "user", "content": "q"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "r"},
                        {"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "1",
                            "content": [{"type": "text", "text": "3"}],
                        }
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
            ],
        },
        {
            **tool_row(
                ("user", "q"),
                ("function_call", f"<think>\nr\n</think>\n\n{CALL_TEXT}"),
                ("tool", "3"),
                ("assistant", "a"),
            ),
            "system": "s",
        },
    ),
    "prompt and completion": (
        "prompt_completion",
        {"prompt": "q", "completion": "a"},
        chat("q", "a"),
    ),
    "question and answer": ("prompt_completion", {"question": "q", "answer": "a"}, chat("q", "a")),
    "prompt and completion as messages": (
        "prompt_completion",
        {
            "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
        chat("q", "a", system="s"),
    ),
    "answers that are JSON stay text": (
        "prompt_completion",
        {"prompt": "q", "completion": '[{"a": 1}]'},
        chat("q", '[{"a": 1}]'),
    ),
    "text": (
        "text",
        {"text": "t"},
        {"conversations": [{"from": "user", "value": "t"}, {"from": "assistant", "value": ""}]},
    ),
}
CHOSEN = {"from": "assistant", "value": "good"}
REJECTED = {"from": "assistant", "value": "bad"}
PAIR = {
    "conversations": [{"from": "user", "value": "q"}],
    "chosen": CHOSEN,
    "rejected": REJECTED,
    "system": "",
    "tools": "",
}
QUESTION = {"role": "user", "content": "q"}


def weighed(*weights: float) -> dict[str, Any]:
    """Rounds whose answers have these weights."""
    turns = [
        [QUESTION, {"role": "assistant", "content": f"a{number}", "weight": weight}]
        for number, weight in enumerate(weights)
    ]
    return {"messages": [turn for pair in turns for turn in pair]}


PAIRS: dict[str, Any] = {
    "strings": {"prompt": "q", "chosen": "good", "rejected": "bad"},
    "alpaca": {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
    "messages": {
        "prompt": [QUESTION],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    "whole dialogues": {
        "prompt": "q",
        "chosen": [QUESTION, {"role": "assistant", "content": "good"}],
        "rejected": [QUESTION, {"role": "assistant", "content": "bad"}],
    },
    "conversations": {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    },
    "hh": {
        "chosen": "\n\nHuman: q\n\nAssistant: good",
        "rejected": "\n\nHuman: q\n\nAssistant: bad",
    },
}


@pytest.mark.parametrize("case", GOOD)
def test_good_rows(case: str) -> None:
    name, row, expected = GOOD[case]
    assert converted(name, row) == (expected, [])


@pytest.mark.parametrize("case", PAIRS)
def test_preference_rows(case: str) -> None:
    assert converted("preference", PAIRS[case]) == (PAIR, [])


@pytest.mark.parametrize("label", [True, 1, "true", "True", "1", 1.0, "👍", "thumbs_up"])
def test_kto_labels(label: Any) -> None:
    row, codes = converted("kto", {"prompt": "q", "completion": "a", "label": label})
    assert (row, codes) == (chat("q", "a", label=True), [])


def test_kto_messages() -> None:
    row, _ = converted("kto", {**messages(("user", "q"), ("assistant", "a")), "label": 0})
    assert row == chat("q", "a", label=False)


BAD: dict[str, tuple[str, Any]] = {
    "not_an_object": ("alpaca", [1]),
    "prompt_missing": ("alpaca", {"instruction": "  ", "input": "", "output": "a"}),
    "prompt_not_text": ("alpaca", {"instruction": ["q"], "output": "a"}),
    "answer_missing": ("alpaca", {"instruction": "q", "output": None}),
    "answer_empty": ("alpaca", {"instruction": "q", "output": "\n"}),
    "answer_not_text": ("alpaca", {"instruction": "q", "output": {"a": 1}}),
    "system_not_text": ("alpaca", {"instruction": "q", "output": "a", "system": []}),
    "history_malformed": ("alpaca", {"instruction": "q", "output": "a", "history": "h"}),
    "text_missing": ("text", {"text": None}),
    "text_empty": ("text", {"text": " "}),
    "text_not_text": ("text", {"text": {"a": "t"}}),
    "messages_missing": ("openai", {"messages": []}),
    "messages_not_list": ("openai", {"messages": "hello"}),
    "turn_malformed": ("openai", {"messages": [{"role": "user"}]}),
    "turn_not_text": ("openai", messages(("user", True), ("assistant", "a"))),
    "turn_empty": ("openai", messages(("user", ""), ("assistant", "a"))),
    "content_part_unknown": ("openai", messages(("user", [{"type": "hologram"}]))),
    "role_unknown": ("openai", messages(("narrator", "q"))),
    "turn_order": ("openai", messages(("assistant", "a"), ("user", "q"))),
    "last_turn_not_assistant": ("openai", messages(("user", "q"))),
    "system_not_first": ("openai", messages(("user", "q"), ("system", "s"), ("assistant", "a"))),
    "system_conflict": (
        "openai",
        {**messages(("system", "s"), ("user", "q"), ("assistant", "a")), "system": "t"},
    ),
    "tool_call_malformed": (
        "openai",
        with_call("3", tool_calls=[{"function": {"arguments": "{}"}}]),
    ),
    "tool_order": (
        "openai",
        tool_row(("human", "q"), ("function_call", CALL_TEXT), ("human", "3"), ("gpt", "b")),
    ),
    "tools_malformed": ("openai", {**messages(("user", "q"), ("assistant", "a")), "tools": "x"}),
    "pair_incomplete": ("preference", {"prompt": "q", "chosen": "good"}),
    "pair_diverges": (
        "preference",
        {
            "chosen": [QUESTION, {"role": "assistant", "content": "good"}],
            "rejected": [{"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}],
        },
    ),
    "label_missing": ("kto", {"prompt": "q", "completion": "a"}),
    "label_invalid": ("kto", {"prompt": "q", "completion": "a", "label": "perhaps"}),
    "media_malformed": ("sharegpt", {"conversations": PAIR["conversations"], "images": 3}),
    "media_missing": (
        "openai",
        {**messages(("user", "<image>q"), ("assistant", "a")), "images": ["no.png"]},
    ),
    "media_unreadable": (
        "openai",
        {**messages(("user", "<image>q"), ("assistant", "a")), "images": [__file__]},
    ),
    "nothing_trained": (
        "openai",
        {"messages": [QUESTION, {"role": "assistant", "content": "a", "weight": 0}]},
    ),
}


@pytest.mark.parametrize("code", BAD)
def test_unusable_rows(code: str) -> None:
    name, row = BAD[code]
    if code == "media_malformed":
        row = {**messages(("user", "q"), ("assistant", "a")), "images": 3}
        name = "openai"
    made, codes = converted(name, row)
    assert made is None
    assert codes[-1] == code


DOUBTS: dict[str, tuple[str, Any]] = {
    "number_as_text": ("alpaca", {"instruction": "q", "output": 7}),
    "json_text": (
        "openai",
        {"messages": json.dumps(messages(("user", "q"), ("assistant", "a"))["messages"])},
    ),
    "weight_ignored": (
        "openai",
        {"messages": [QUESTION, {"role": "assistant", "content": "a", "weight": 0.5}]},
    ),
    "untrained_end": ("openai", weighed(1, 0)),
    "tool_call_text_dropped": ("openai", with_call("3", content="let me see")),
    "tool_parameters_missing": (
        "openai",
        {**messages(("user", "q"), ("assistant", "a")), "tools": [{"name": "now"}]},
    ),
    "placeholder_without_media": ("alpaca", {"instruction": "<image> q", "output": "a"}),
    "pair_equal": ("preference", {"prompt": "q", "chosen": "a", "rejected": "a"}),
    "tool_result_json": ("openai", with_call({"sum": 3})),
    "lists_as_turns": (
        "openai",
        {"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}},
    ),
    "tool_calls_joined": (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "3"},
                {"from": "gpt", "value": "a"},
            ]
        },
    ),
}


@pytest.mark.parametrize("code", DOUBTS)
def test_repairs_and_doubts_keep_the_row_and_say_so(code: str) -> None:
    name, row = DOUBTS[code]
    made, codes = converted(name, row)
    assert made is not None
    assert codes == [code]


@pytest.mark.parametrize("text", ["\u200b", " \ufeff\n", "\u2060\u200d", "\u3164", "\x00\x07"])
def test_an_answer_of_invisible_characters_is_no_answer(text: str) -> None:
    assert converted("alpaca", {"instruction": "q", "output": text}) == (None, ["answer_empty"])
    row = messages(("user", "q"), ("assistant", text))
    assert converted("openai", row) == (None, ["answer_empty"])
    pair = {"prompt": "q", "chosen": text, "rejected": "a"}
    assert converted("preference", pair)[1] == ["answer_empty"]
    named = Converter(Plan("alpaca")).convert({"instruction": "q", "output": "\u200b"}).error
    assert named == (
        "answer_empty",
        "output is blank: it holds only invisible characters (U+200B); expected an answer",
    )


@pytest.mark.parametrize("text", ["\u200ba", "👍🏽", "\u200d\U0001f469", "a\ufe0f"])
def test_invisible_characters_beside_others_are_left_alone(text: str) -> None:
    row = {"instruction": "q", "output": text}
    assert converted("alpaca", row) == (chat("q", text), [])


def test_an_answer_with_weight_zero_is_kept_and_marked() -> None:
    made, codes = converted("openai", weighed(0, 1))
    assert codes == []
    assert [turn.get("weight") for turn in made["conversations"]] == [None, 0, None, None]


def test_what_follows_the_last_answer_that_is_trained_is_left_out(tmp_path: Path) -> None:
    made, codes = converted("openai", weighed(1, 0, 0))
    assert ([turn["value"] for turn in made["conversations"]], codes) == (
        ["q", "a0"],
        ["untrained_end"],
    )
    (tmp_path / "cat.png").write_bytes(PIXEL)
    row = {**weighed(1, 0), "images": ["cat.png"]}
    row["messages"][2] = {"role": "user", "content": "<image>?"}
    made, codes = converted("openai", row, tmp_path)
    assert (len(made["conversations"]), codes) == (4, [])  # the picture keeps its mark


def test_compared_answers_have_no_weights() -> None:
    """Weights that differ before the compared answers do not part chosen from rejected."""
    chosen, rejected = weighed(0, 1)["messages"], weighed(1, 1)["messages"]
    rejected[-1] = {"role": "assistant", "content": "worse"}
    made, codes = converted("preference", {"chosen": chosen, "rejected": rejected})
    assert codes == ["weight_ignored"]
    assert all("weight" not in turn for turn in made["conversations"])
    made, codes = converted("kto", {**weighed(1, 0), "label": True})
    assert (len(made["conversations"]), codes) == (4, ["weight_ignored"])


def test_a_weight_of_zero_on_a_turn_that_is_not_trained_is_no_news() -> None:
    row = {
        "messages": [{**QUESTION, "weight": 0}, {"role": "assistant", "content": "a", "weight": 1}]
    }
    assert converted("openai", row) == (chat("q", "a"), [])


def test_media_paths_are_absolute_and_counted(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PIXEL)
    row = {**messages(("user", "<image>what?"), ("assistant", "a cat")), "images": ["cat.png"]}
    made, codes = converted("openai", row, tmp_path)
    assert (made["images"], codes) == ([str(tmp_path / "cat.png")], [])
    row["images"] = ["cat.png", "cat.png"]
    assert converted("openai", row, tmp_path) == (None, ["media_count"])


@pytest.mark.parametrize("digits", [308, 309, 3000])
def test_a_number_of_any_length_is_text(digits: int) -> None:
    row = {"instruction": "q", "output": 10**digits}
    assert converted("alpaca", row) == (chat("q", f"{10**digits}"), ["number_as_text"])


def test_the_answers_of_a_pair_hold_no_media(tmp_path: Path) -> None:
    """The engine counts the files of the prompt with either answer, and fails in the training."""
    (tmp_path / "cat.png").write_bytes(PIXEL)
    pair = {"prompt": "<image>what?", "chosen": "a cat", "rejected": "a dog"}
    assert converted("preference", {**pair, "images": ["cat.png"]}, tmp_path)[1] == []
    marked = {**pair, "chosen": "a <image>", "images": ["cat.png"]}
    assert converted("preference", marked, tmp_path) == (None, ["media_count"])
    part = {"role": "assistant", "content": [{"type": "image", "image": "cat.png"}]}
    brought = {"prompt": "what?", "chosen": [part], "rejected": "a dog"}
    assert converted("preference", brought, tmp_path) == (None, ["media_count"])
    text = {"prompt": "which tag?", "chosen": "<image>", "rejected": "<img>"}
    assert converted("preference", text)[1] == ["placeholder_without_media"]


def test_image_parts_become_placeholders(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PIXEL)
    parts = [
        {"type": "image_url", "image_url": {"url": "cat.png"}},
        {"type": "text", "text": "what?"},
    ]
    made, _ = converted("openai", messages(("user", parts), ("assistant", "a cat")), tmp_path)
    assert made["conversations"][0]["value"] == "<image>what?"
    assert made["images"] == [str(tmp_path / "cat.png")]


def test_a_prompt_that_the_dialogues_do_not_hold_is_named() -> None:
    sides = {
        name: messages(("user", "q"), ("assistant", name))["messages"]
        for name in ("chosen", "rejected")
    }
    assert converted("preference", {"prompt": "q", **sides})[1] == []
    assert converted("preference", {"prompt": "other", **sides})[1] == ["prompt_unused"]


def test_names_in_another_case_are_told_how_to_be_read() -> None:
    error = Converter(Plan("", recognised=True)).convert({"Instruction": "q", "Output": "a"}).error
    assert error is not None
    assert error[1].endswith("--columns instruction=Instruction,output=Output")


def test_python_text_in_a_cell_is_called_so() -> None:
    cell = "[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}]"  # of numpy
    error = Converter(Plan("openai")).convert({"messages": cell}).error
    assert error is not None
    assert "json.dumps" in error[1]


def test_pictures_that_stand_in_the_row_become_files(tmp_path: Path) -> None:
    text = base64.b64encode(PIXEL).decode()
    plan = Plan("openai", media=Media(tmp_path, tmp_path / "media"))
    for given in ({"bytes": PIXEL, "path": "a.gif"}, PIXEL, f"data:image/gif;base64,{text}"):
        row = {**messages(("user", "q"), ("assistant", "a")), "images": [given]}
        result = Converter(plan).convert(row)
        assert result.data is not None
        written = json.loads(result.data)
        assert written["conversations"][0]["value"] == "<image>\nq"
        assert Path(written["images"][0]).read_bytes() == PIXEL
    assert len([*(tmp_path / "media").iterdir()]) == 1


def test_bytes_that_are_no_picture_are_named(tmp_path: Path) -> None:
    row = {**messages(("user", "<image>q"), ("assistant", "a")), "images": [{"bytes": b"x"}]}
    error = Converter(Plan("openai", media=Media(tmp_path, tmp_path))).convert(row).error
    assert error == ("media_unreadable", "images: the 1 bytes are no image")
