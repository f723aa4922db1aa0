"""Canonical rows, written in each format and read again, are the same rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.convert.doubts import may_hold_doubts
from fine_tuning.dataset.convert.plan import Converter, Plan
from fine_tuning.dataset.convert.values import is_blank
from fine_tuning.dataset.recognise.by_columns import formats_of
from fine_tuning.dataset.recognise.formats import all_formats

CHARACTERS = st.characters(blacklist_categories=["Cs", "Cc"])
words = st.text(CHARACTERS, min_size=1, max_size=12).filter(
    lambda text: not is_blank(text) and not may_hold_doubts(text.encode())
)
# A mark of a medium, or of BELLE's and hh-rlhf's turns, means something of its own.
plain = words.filter(
    lambda text: not any(mark in text for mark in ("<", "Human", "Assistant", "["))
)
system = plain | st.just("")
Row = dict[str, Any]


def canonical(turns: list[str], system: str = "") -> Row:
    roles = ("user", "assistant")
    listed = [{"from": roles[i % 2], "value": text} for i, text in enumerate(turns)]
    return {"conversations": listed, "system": system, "tools": ""}


def values(row: Row) -> list[str]:
    return [turn["value"] for turn in row["conversations"]]


def alpaca(row: Row) -> Row:
    *before, asked, answer = values(row)
    history = [list(pair) for pair in zip(before[::2], before[1::2], strict=True)]
    found = {"instruction": asked, "input": "", "output": answer, "history": history}
    return {**found, "system": row["system"]}


def sharegpt(row: Row) -> Row:
    roles = {"user": "human", "assistant": "gpt"}
    turns = [{"from": roles[t["from"]], "value": t["value"]} for t in row["conversations"]]
    return {"conversations": turns, "system": row["system"]}


def openai(row: Row) -> Row:
    turns = [{"role": t["from"], "content": t["value"]} for t in row["conversations"]]
    first = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return {"messages": [*first, *turns]}


def anthropic(row: Row) -> Row:
    turns = [
        {"role": t["from"], "content": [{"type": "text", "text": t["value"]}]}
        for t in row["conversations"]
    ]
    return {"messages": turns, "system": row["system"]}


def prompt_completion(row: Row) -> Row:
    *prompt, answer = openai(row)["messages"]
    return {"prompt": prompt, "completion": [answer]}


WRITERS: dict[str, tuple[str, Callable[[Row], Row]]] = {
    "alpaca": ("alpaca", alpaca),
    "sharegpt": ("sharegpt", sharegpt),
    "openai": ("openai", openai),
    "anthropic": ("openai", anthropic),
    "prompt_completion": ("prompt_completion", prompt_completion),
}
even_turns = st.integers(1, 3).flatmap(lambda n: st.lists(plain, min_size=2 * n, max_size=2 * n))
odd_turns = st.integers(0, 2).flatmap(
    lambda n: st.lists(plain, min_size=2 * n + 1, max_size=2 * n + 1)
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def back(name: str, written: Row) -> Row:
    """The row read as `name`, which `auto` must find as well; nothing may be remarked."""
    written = json.loads(json.dumps(written))
    assert formats_of(written) == (name,)
    converted = Converter(Plan(name, recognised=True)).convert(written)
    assert (converted.error, converted.warnings) == (None, ())
    assert converted.data is not None
    row: Row = json.loads(converted.data)
    return row


@pytest.mark.parametrize("case", WRITERS)
def test_chat_rows(case: str) -> None:
    name, write = WRITERS[case]

    @QUICK
    @given(even_turns, system)
    def same(turns: list[str], prompt: str) -> None:
        row = canonical(turns, prompt)
        assert back(name, write(row)) == row

    same()


@QUICK
@given(plain, plain, st.lists(plain, max_size=3))
def test_belle_dialogues(asked: str, answer: str, more: list[str]) -> None:
    strip = [text.strip() for text in [asked, answer, *more]]
    turns = [text.replace(":", "").replace("：", "") for text in strip]
    turns = [text or "x" for text in turns]
    turns = turns if len(turns) % 2 else turns[:-1]
    names = ("Human", "Assistant")
    dialogue = "\n".join(f"{names[i % 2]}:{text}" for i, text in enumerate(turns))
    written = {"instruction": dialogue + "\nAssistant:", "input": "", "output": "end"}
    texts = [value.strip() for value in values(back("belle", written))]
    assert texts == [text.strip() for text in [*turns, "end"]]


@QUICK
@given(plain)
def test_text_rows(text: str) -> None:
    turns = [{"from": "user", "value": text}, {"from": "assistant", "value": ""}]
    assert back("text", {"text": text}) == {"conversations": turns}


@QUICK
@given(odd_turns, system, plain, plain, st.booleans())
def test_preference_rows(turns: list[str], prompt: str, good: str, bad: str, whole: bool) -> None:
    row = canonical(turns, prompt)
    listed = openai(row)["messages"]
    chosen, rejected = ({"role": "assistant", "content": text} for text in (good, bad))
    written = (
        {"chosen": [*listed, chosen], "rejected": [*listed, rejected]}
        if whole
        else {"prompt": listed, "chosen": [chosen], "rejected": [rejected]}
    )
    answers = [{"from": "assistant", "value": text} for text in (good, bad)]
    expected = {**row, "chosen": answers[0], "rejected": answers[1]}
    converted = Converter(Plan("preference")).convert(written)
    assert converted.data is not None
    assert json.loads(converted.data) == expected


@QUICK
@given(even_turns, system, st.booleans())
def test_kto_rows(turns: list[str], prompt: str, label: bool) -> None:
    row = canonical(turns, prompt)
    assert back("kto", {**openai(row), "label": label}) == {**row, "label": label}


@pytest.mark.engine
@pytest.mark.parametrize(
    "name", ["alpaca", "sharegpt", "openai", "prompt_completion", "preference"]
)
def test_the_entries_are_llama_factorys_own(name: str, tmp_path: Path) -> None:
    """LLaMA-Factory's parser and converter read a row of each format by our entry as it stands."""
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments

    row = canonical(["q", "a"], "s")
    rows: dict[str, Row] = {
        "alpaca": alpaca(row),
        "sharegpt": {**sharegpt(row), "tools": ""},
        "openai": {**openai(row), "tools": ""},
        "prompt_completion": {"prompt": "q", "completion": "a"},
        "preference": {"prompt": "q", "chosen": "a", "rejected": "b"},
    }
    entry = {**all_formats()[name].entry, "file_name": "rows.json"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({name: entry}))
    [attributes] = get_dataset_list([name], str(tmp_path))
    data = DataArguments(dataset_dir=str(tmp_path))
    converted = get_dataset_converter(attributes.formatting, attributes, data)(rows[name])
    texts = [turn["content"] for turn in (*converted["_prompt"], *converted["_response"])]
    assert texts == (["q", "a", "b"] if name == "preference" else ["q", "a"])
