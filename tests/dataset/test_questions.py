"""Shapes of more than one meaning: a question, and a flag for each of its answers."""

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset import check as dataset
from fine_tuning.errors import DataError
from fine_tuning.values.spec import DataSpec
from tests.dataset.posted import PAIRS, asked, rows, turns
from tests.dataset.rows_on_disk import (
    PIXEL,
    account,
    problems,
    report,
)

QUESTIONS: dict[str, Any] = {
    "solution beside the answer": lambda q, a, n: {"question": q, "answer": "4", "solution": a},
    "explanation": lambda q, a, n: {"instruction": q, "output": a, "explanation": f"{a} So {n}."},
    "two prompts": lambda q, a, n: {"instruction": "Answer.", "question": q, "output": a},
    "ratings": lambda q, a, n: {"prompt": q, "response": a, "helpfulness": n, "correctness": n % 3},
    "one rating": lambda q, a, n: {"messages": turns(q, a), "score": n / 4},
    "a label in words": lambda q, a, n: {
        "prompt": q,
        "response": a,
        "quality": "hi" if n else "lo",
    },
    "text and label": lambda q, a, n: {"text": a, "label": n % 2},
    "text and sentiment": lambda q, a, n: {"text": a, "sentiment": "pos" if n else "neg"},
    "text and summary": lambda q, a, n: {"text": a * 3, "summary": f"Short text number {n}, {q}"},
    "content and question": lambda q, a, n: {"content": a, "question": q},
    "persona": lambda q, a, n: {"prompt": q, "response": a, "persona": f"You are nurse {n}."},
    "context of messages": lambda q, a, n: {"messages": turns(q, a), "context": f"{a} Also {n}."},
    "document chunks": lambda q, a, n: {
        "question": q,
        "answer": a,
        "chunks": [f"{q} text {n}"] * 2,
    },
    "an unknown long text": lambda q, a, n: {
        "prompt": q,
        "response": a,
        "addendum": f"{n} {q} {q}",
    },
    "sample weight": lambda q, a, n: {"prompt": q, "response": a, "sample_weight": n / 3},
    "role and content": lambda q, a, n: {"role": "user" if n % 2 else "assistant", "content": a},
    "flat messages": lambda q, a, n: {"text": a, "role": "prompter", "message_id": str(n)},
    "pieces of a dialogue": lambda q, a, n: {"prompt": q, "response": a, "conversation_id": n // 2},
    "file beside caption": lambda q, a, n: {"file_name": f"{n}.png", "text": a},
    "chatml": lambda q, a, n: {
        "text": f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n"
    },
    "llama 3": lambda q, a, n: {
        "text": f"<|start_header_id|>user<|end_header_id|>\n\n{q}<|eot_id|>"
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{a}<|eot_id|>"
    },
    "mistral": lambda q, a, n: {"text": f"<s>[INST] {q} [/INST] {a}</s>"},
    "gemma": lambda q, a, n: {
        "text": f"<start_of_turn>user\n{q}<end_of_turn>\n<start_of_turn>model\n{a}<end_of_turn>\n"
    },
    "alpaca text": lambda q, a, n: {"text": f"### Instruction:\n{q}\n\n### Response:\n{a}"},
    "vicuna": lambda q, a, n: {"text": f"USER: {q}\nASSISTANT: {a}</s>"},
    "human assistant": lambda q, a, n: {"content": f"Human: {q}\n\nAssistant: {a}"},
    "guanaco": lambda q, a, n: {"text": f"### Human: {q}### Assistant: {a}"},
    "translation": lambda q, a, n: {"translation": {"en": q, "de": a}},
    "languages as columns": lambda q, a, n: {"id": n, "en": q, "zh": a},
    "source and target": lambda q, a, n: {"src": q, "tgt": a},
    "a row within a column": lambda q, a, n: {"id": n, "data": {"instruction": q, "output": a}},
    "squad": lambda q, a, n: {
        "context": f"Once: {a} So it was.",
        "question": q,
        "answers": {"text": [a], "answer_start": [6]},
    },
    "triviaqa": lambda q, a, n: {"question": q, "answer": {"value": a, "aliases": [a, a.upper()]}},
    "several answers": lambda q, a, n: {"question": q, "answer": [a, a.upper()]},
    "lists within lists": lambda q, a, n: {"questions": [[q]], "answers": [a]},
    "ragas": lambda q, a, n: {"question": q, "contexts": [f"{n}", "4"], "ground_truth": a},
    "text to sql": lambda q, a, n: {
        "question": q,
        "query": "SELECT 1",
        "schema": f"table t{n}, {a}",
    },
    "pairs by letter": lambda q, a, n: {"question": q, "response_j": a, "response_k": "No idea."},
    "programs": lambda q, a, n: {
        "question": q,
        "solutions": json.dumps(["print(1)"]),
        "input_output": json.dumps({"inputs": ["1"]}),
    },
    "code beside its task": lambda q, a, n: {"text": q, "code": f"return {n}", "test_list": ["x"]},
    "documented functions": lambda q, a, n: {
        "func_path_in_repository": "a/b.py",
        "func_documentation_string": q,
        "func_code_string": f"def f(): return {n}",
    },
    "entailment": lambda q, a, n: {"premise": a, "hypothesis": q, "label": n % 3},
    "reviews": lambda q, a, n: {"review": a, "sentiment": "good" if n % 2 else "bad"},
    "endings": lambda q, a, n: {"ctx": q, "endings": ["x", "y"], "label": str(n % 2)},
    "article and highlights": lambda q, a, n: {"article": f"{q} {a}", "highlights": a},
    "verifiable": lambda q, a, n: {
        "prompt": turns(q),
        "reward_model": {"style": "rule", "ground_truth": a},
    },
    "calls": lambda q, a, n: {
        "query": q,
        "answers": json.dumps([{"name": "now", "arguments": {}}]),
        "tools": json.dumps([{"name": "now", "parameters": {"zone": {"type": "str"}}}]),
    },
    "a split in a column": lambda q, a, n: {
        "instruction": q,
        "output": a,
        "split": "test" if n > 2 else "train",
    },
    "by who speaks": lambda q, a, n: {"Description": q[:9], "Patient": q, "Doctor": a},
    "two dialogues": lambda q, a, n: {"short": turns(q, a), "long": turns(q, a * 2)},
    "poems": lambda q, a, n: {"title": q, "author": "x", "paragraphs": [q, a]},
    "songs": lambda q, a, n: {"artist": "x", "album": "y", "lyrics": f"{q} {a}"},
    "sentence pairs": lambda q, a, n: {"sentence1": q, "sentence2": a, "gold_label": "neutral"},
    "triplets": lambda q, a, n: {"anchor": q, "positive": a, "negative": "No."},
    "retrieval": lambda q, a, n: {"query": q, "pos": [a], "neg": ["No.", "None."]},
    "tickets": lambda q, a, n: {"subject": q[:9], "body": q, "answer": a, "priority": "high"},
    "names in another language": lambda q, a, n: {"Frage": q, "Antwort": a},
}


def suggestions(message: str) -> list[dict[str, Any]]:
    """The flags of every way that a message names."""
    found = []
    for way in re.split(r"Choose:|Choose, for example:| \| |own:", message)[1:]:
        words = shlex.split(re.split(r" \([a-z]", way)[0].strip())
        flags: dict[str, Any] = {}
        name = ""
        for word in words:
            if word.startswith("--"):
                name = word[2:]
                flags[name] = []
            elif name:
                flags[name].append(word)
        found.append({name: _value(name, values) for name, values in flags.items()})
    return found


def _value(name: str, words: list[str]) -> Any:
    if name == "columns":
        return dict(pair.split("=") for pair in ",".join(words).split(","))
    return tuple(words) if name == "ignore_columns" else words[0]


@pytest.mark.parametrize("case", QUESTIONS)
def test_a_question_stops_and_each_of_its_ways_answers_it(tmp_path: Path, case: str) -> None:
    for n in range(len(PAIRS)):
        (tmp_path / f"{n}.png").write_bytes(PIXEL)
    data = account(tmp_path, rows(QUESTIONS[case]))
    ways = suggestions(asked(data))
    assert ways
    spec = DataSpec(dataset_path=(str(tmp_path / "data.jsonl"),), near_duplicates=False)
    with pytest.raises(DataError, match="--"):
        dataset.refuse_unusable(data, spec)
    for flags in ways:
        again = dataset.account(
            dataclasses.replace(spec, **flags), out_dir=tmp_path / "again", look=None
        )
        assert not [g for g in again.problems if g.severity == "error"], (flags, again.problems)
        dataset.refuse_unusable(again, spec)


@pytest.mark.parametrize(
    "more",
    [
        {"id": 7},
        {"source": "a long name of the book that the rows were taken from, page 12"},
        {"category": "c", "lang": "en", "url": "https://example.org/a/rather/long/address/12"},
        {"meta": {"note": "some text about where and when this row was written down"}},
        {"user": "bob", "language_score": 0.9, "conversation_id": "c1"},
        {"created_at": "2026-01-01", "num_tokens": 12, "tags": ["a", "b"], "score": 1},
        {"model": "m-7b", "difficulty": "easy", "title": "A title that is as long as titles are"},
        {"__index_level_0__": 3, "Unnamed: 0": 3, "conversation_hash": "ab12"},
    ],
    ids=str,
)
def test_what_only_describes_a_row_is_no_question(tmp_path: Path, more: dict[str, Any]) -> None:
    data = account(tmp_path, rows(lambda q, a, n: {"instruction": q, "output": a, **more}))
    assert problems(data) == []
    assert any("not read" in note for note in data.findings["notes"])


def test_a_column_that_repeats_prompt_and_answer_is_no_question(tmp_path: Path) -> None:
    made = rows(lambda q, a, n: {"instruction": q, "output": a, "text": f"Below: {q} ### {a}"})
    assert problems(account(tmp_path, made)) == []


def test_a_column_that_comes_late_is_asked_about(tmp_path: Path) -> None:
    made = [{"instruction": f"q{n}", "output": f"a{n}"} for n in range(3000)]
    made += [{"instruction": f"r{n}", "output": "b", "rationale": f"As {n}."} for n in range(50)]
    assert '"rationale" looks like the reasoning' in asked(account(tmp_path, made))


@pytest.mark.parametrize("name", ["system_prompt", "answer", "url", "id"])
def test_a_part_of_a_row_alone_is_no_text(tmp_path: Path, name: str) -> None:
    data = account(tmp_path, rows(lambda q, a, n: {name: f"{a} {n}"}))
    assert data.rows_kept == 0
    first = report(data)["problems"][0]["message"]
    [flags] = suggestions(first)
    assert account(tmp_path, rows(lambda q, a, n: {name: a}), **flags).rows_kept == len(PAIRS)
