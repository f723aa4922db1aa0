"""Shapes that people post: read where they have one meaning, else a question with its flags."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset import check as dataset
from fine_tuning.dataset.insight.rows import read_lines
from fine_tuning.dataset.problems import cause_of
from fine_tuning.errors import DataError
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec
from tests.dataset.rows_on_disk import PIXEL, problems, report, write_jsonl

ASK = (
    "How is the valve opened?",
    "Which oil does it take?",
    "Who may open the lid?",
    "Is it loud?",
)
SAY = (
    "Turn the red wheel to the left until it stops.",
    "Any mineral oil of grade 46 will do, two litres.",
    "Only the fitter who signed the sheet on its side.",
    "No louder than a fridge at a metre of distance.",
)
PAIRS = [*zip(ASK, SAY, strict=True)]


def rows(make: Any) -> list[Any]:
    return [make(q, a, n) for n, (q, a) in enumerate(PAIRS)]


def checked(tmp_path: Path, listed: list[Any], name: str = "d.jsonl", **known: Any) -> CheckedData:
    write_jsonl(tmp_path / name, listed)
    return of_files(tmp_path, name, **known)


def of_files(tmp_path: Path, *names: str, **known: Any) -> CheckedData:
    paths = tuple(str(tmp_path / name) if name else str(tmp_path) for name in names)
    spec = DataSpec(dataset_path=paths, near_duplicates=False, **known)
    return dataset.account(spec, out_dir=tmp_path / "out", look=None)


def canonical(data: CheckedData) -> list[dict[str, Any]]:
    """The kept rows, also where they are a typed table."""
    return [json.loads(line) for line in read_lines(data.rows_path)]


def codes(data: CheckedData) -> set[str]:
    return {group.code for group in data.problems}


def asked(data: CheckedData) -> str:
    """The one question of the data."""
    [found] = [p for p in report(data)["problems"] if is_question(p)]
    return str(found["message"])


def is_question(problem: Mapping[str, Any]) -> bool:
    return cause_of(problem["code"], problem["severity"]).effect == "question"


def turns(*texts: str, **flags: Any) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


# ----- per-turn loss flags ---------------------------------------------------------------------


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

    data = checked(tmp_path, rows(make))
    assert [t.get("weight") for t in canonical(data)[0]["conversations"]] == [None, 0, None, None]
    assert codes(data) == {"answers_untrained"} | ({"role_renamed"} & codes(data))


@pytest.mark.parametrize("flag", [{"loss_weight": 0.3}, {"train_detail": [{"begin_offset": 0}]}])
def test_a_part_of_a_weight_is_said_to_be_lost(tmp_path: Path, flag: dict[str, Any]) -> None:
    data = checked(tmp_path, rows(lambda q, a, n: {"messages": [*turns(q), turns(q, a)[1] | flag]}))
    assert codes(data) == {"weight_ignored"}
    assert [group.effect for group in data.problems] == ["loss"]


# ----- read, because there is one meaning ------------------------------------------------------

PAIR_OF_TURNS = [("user", ASK[0]), ("assistant", SAY[0])]


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
    ],
)
def test_a_dialogue_is_read_in_every_form_of_its_turns(tmp_path: Path, make: Any) -> None:
    data = checked(tmp_path, rows(make))
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
    ],
)
def test_what_the_question_is_about_stands_in_the_prompt(
    tmp_path: Path, columns: dict[str, Any], prompt: str
) -> None:
    data = checked(tmp_path, rows(lambda q, a, n: {"question": q, "answer": a, **columns}))
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
    data = checked(tmp_path, made)
    text = canonical(data)[0]["conversations"][1]["value"]
    assert text == f"<think>\nBecause 0.\n</think>\n\n{SAY[0]}"


def test_a_switch_called_reasoning_is_none(tmp_path: Path) -> None:
    data = checked(tmp_path, rows(lambda q, a, n: {"input": q, "output": a, "reasoning": "off"}))
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
    data = checked(tmp_path, rows(make))
    row = canonical(data)[0]
    assert (data.kind, row["chosen"]["value"], row["rejected"]["value"]) == (
        "preference",
        SAY[0],
        "No idea.",
    )


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("desirable", "undesirable"), (1, -1)])
def test_labels_in_words_are_read(tmp_path: Path, good: Any, bad: Any) -> None:
    made = rows(lambda q, a, n: {"prompt": q, "completion": a, "label": bad if n % 2 else good})
    data = checked(tmp_path, made)
    assert [row["label"] for row in canonical(data)] == [True, False, True, False]


def test_a_call_that_stands_as_text_is_kept_and_said(tmp_path: Path) -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    listed = [
        *turns("What time is it?", call),
        {"role": "tool", "content": "<tool_response>9</tool_response>"},
        {"role": "assistant", "content": "It is nine."},
    ]
    data = checked(tmp_path, [{"messages": listed}])
    assert (data.rows_kept, codes(data)) == (1, {"tool_call_as_text"})


def test_an_answer_before_its_call_is_accepted_and_said_to_be_lost(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now"}}]}
    end = [{"role": "tool", "content": "9"}, {"role": "assistant", "content": "Nine."}]
    tools = [{"name": "now", "parameters": {"type": "object", "properties": {}}}]
    row = {"messages": [*turns("Time?", "I look."), call, *end], "tools": tools}
    data = checked(tmp_path, [row])
    assert (data.rows_kept, codes(data)) == (1, {"tool_call_text_dropped"})


# ----- questions, and every flag that they name -------------------------------------------------

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
    data = checked(tmp_path, rows(QUESTIONS[case]))
    ways = suggestions(asked(data))
    assert ways
    spec = DataSpec(dataset_path=(str(tmp_path / "d.jsonl"),), near_duplicates=False)
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
    data = checked(tmp_path, rows(lambda q, a, n: {"instruction": q, "output": a, **more}))
    assert problems(data) == []
    assert any("not read" in note for note in data.findings["notes"])


def test_a_column_that_repeats_prompt_and_answer_is_no_question(tmp_path: Path) -> None:
    made = rows(lambda q, a, n: {"instruction": q, "output": a, "text": f"Below: {q} ### {a}"})
    assert problems(checked(tmp_path, made)) == []


def test_a_column_that_comes_late_is_asked_about(tmp_path: Path) -> None:
    made = [{"instruction": f"q{n}", "output": f"a{n}"} for n in range(3000)]
    made += [{"instruction": f"r{n}", "output": "b", "rationale": f"As {n}."} for n in range(50)]
    assert '"rationale" looks like the reasoning' in asked(checked(tmp_path, made))


@pytest.mark.parametrize("name", ["system_prompt", "answer", "url", "id"])
def test_a_part_of_a_row_alone_is_no_text(tmp_path: Path, name: str) -> None:
    data = checked(tmp_path, rows(lambda q, a, n: {name: f"{a} {n}"}))
    assert data.rows_kept == 0
    first = report(data)["problems"][0]["message"]
    [flags] = suggestions(first)
    assert checked(tmp_path, rows(lambda q, a, n: {name: a}), **flags).rows_kept == len(PAIRS)


# ----- files of other tools, and what is no text ------------------------------------------------

FORMS: dict[str, tuple[str, str]] = {
    "pandas columns": (
        "d.json",
        json.dumps({"instruction": dict(enumerate(ASK)), "output": dict(enumerate(SAY))}),
    ),
    "pandas list": ("d.json", json.dumps({"instruction": ASK, "output": SAY})),
    "pandas split": (
        "d.json",
        json.dumps({"columns": ["instruction", "output"], "index": [0, 1], "data": PAIRS}),
    ),
    "label studio": (
        "d.json",
        json.dumps(
            [
                {
                    "id": 1,
                    "data": {"prompt": q},
                    "annotations": [{"result": [{"value": {"text": [a]}, "type": "textarea"}]}],
                }
                for q, a in PAIRS
            ]
        ),
    ),
    "openai batch": (
        "d.jsonl",
        "".join(
            json.dumps({"custom_id": q, "body": {"messages": turns(q, a)}}) + "\n" for q, a in PAIRS
        ),
    ),
    "yaml": (
        "d.yaml",
        "".join(f"- instruction: {json.dumps(q)}\n  output: {json.dumps(a)}\n" for q, a in PAIRS),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_another_tool_is_named_with_its_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, content = FORMS[form]
    Path(name).write_text(content, encoding="utf-8")
    spec = DataSpec(dataset_path=(name,), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out", look=None)
    message = report(data)["problems"][0]["message"]
    assert data.rows_kept == 0
    words = shlex.split(message[message.index("python -c") :])
    subprocess.run([sys.executable, *words[1:3]], check=True)
    made = words[words.index("give") + 1].rstrip(",")
    again = dataset.account(
        dataclasses.replace(spec, dataset_path=(made,)), out_dir=tmp_path / "again", look=None
    )
    assert again.rows_kept == len(PAIRS)


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("lines.txt", "One text of a line.\nAnother one.\n", 2),
        ("book.txt", "It was a dark and\nstormy night in the\nport.\n\nNobody was\nout.\n", 1),
        ("page.md", "# Title\n\nText.\n\n- one\n- two\n", 1),
    ],
)
def test_a_text_is_a_line_or_the_file(tmp_path: Path, name: str, content: str, kept: int) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    data = of_files(tmp_path, name)
    assert data.rows_kept == kept
    assert "--text_unit" in data.files[0].evidence
    assert of_files(tmp_path, name, text_unit="document").rows_kept == 1
    assert of_files(tmp_path, name, text_unit="line").rows_kept > 1


@pytest.mark.parametrize("name", ["rows.txt", "notes.log", "corpus"])
def test_a_file_whose_kind_is_a_guess_is_asked_about(tmp_path: Path, name: str) -> None:
    content = "a,b\n1,2\n3,4\n" if name == "rows.txt" else "Once there was a valve.\nIt leaked.\n"
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert codes(of_files(tmp_path, name)) == {"kind_doubtful"}
    for unit in ("line", "document"):
        assert of_files(tmp_path, name, text_unit=unit).rows_kept > 0


# ----- splits -----------------------------------------------------------------------------------


def tree(tmp_path: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        listed = [{"instruction": f"{number} {q}", "output": f"{number} {a}"} for q, a in PAIRS]
        write_jsonl(tmp_path / name, listed)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train/d.jsonl", "test/d.jsonl"), {"train/d.jsonl": "train"}),
        (("train/d.jsonl", "dev/d.jsonl"), {"train/d.jsonl": "train", "dev/d.jsonl": "validation"}),
        (("training/a.jsonl", "holdout/a.jsonl"), {"training/a.jsonl": "train"}),
        (
            ("a/train-0.jsonl", "b/eval.jsonl"),
            {"a/train-0.jsonl": "train", "b/eval.jsonl": "validation"},
        ),
        (("data.jsonl", "test.jsonl"), {"data.jsonl": "train"}),
        (
            ("data.jsonl", "unit_test_code.jsonl"),
            {"data.jsonl": "train", "unit_test_code.jsonl": "train"},
        ),
    ],
)
def test_splits_stand_in_names(tmp_path: Path, names: Any, splits: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    tree(data, *names)
    found = of_files(tmp_path, "data").files
    assert {str(Path(f.path).relative_to(data)): f.split for f in found} == splits
    one_by_one = of_files(tmp_path, *(f"data/{name}" for name in names)).files
    assert {str(Path(f.path).relative_to(data)): f.split for f in one_by_one} == splits
    every = of_files(tmp_path, "data", ignore_splits=True).files
    assert [f.split for f in every] == ["train"] * len(names)


def test_a_folder_of_tests_alone_is_not_trained_unasked(tmp_path: Path) -> None:
    tree(tmp_path / "d", "test/a.jsonl", "test/b.jsonl")
    with pytest.raises(DataError, match="--ignore_splits"):
        of_files(tmp_path, "d")
    assert of_files(tmp_path, "d", ignore_splits=True).rows_kept == 2 * len(PAIRS)
    assert of_files(tmp_path, "d/test/a.jsonl").rows_kept == len(PAIRS)


def test_a_saved_dataset_gives_its_train_split_without_caches(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = {
        name: datasets.Dataset.from_list([{"instruction": name + q, "output": a} for q, a in PAIRS])
        for name in ("train", "test")
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    cache = tmp_path / "saved" / "train" / "cache-12ab.arrow"
    cache.write_bytes(next((tmp_path / "saved" / "test").glob("*.arrow")).read_bytes())
    data = of_files(tmp_path, "saved")
    assert (data.rows_kept, codes(data)) == (len(PAIRS), {"split_left_out"})


# ----- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv", "d.jsonl.gz", "d.parquet"])
def test_a_file_that_was_cut_off_stops_a_run(tmp_path: Path, name: str) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = [{"instruction": f"{q} {n}", "output": a} for n in range(50) for q, a in PAIRS]
    lines = "".join(json.dumps(row) + "\n" for row in listed).encode()
    table = "instruction,output\n" + "".join(
        f"{r['instruction']},{r['instruction']}\n" for r in listed
    )
    pq.write_table(pa.Table.from_pylist(listed), tmp_path / "whole.parquet")
    whole = {
        "d.jsonl": lines,
        "d.json": json.dumps(listed).encode(),
        "d.csv": table.encode(),
        "d.jsonl.gz": gzip.compress(lines),
        "d.parquet": (tmp_path / "whole.parquet").read_bytes(),
    }[name]
    (tmp_path / name).write_bytes(whole[: len(whole) // 2 - 3])
    data = of_files(tmp_path, name)
    assert "file_cut" in codes(data)
    spec = DataSpec(dataset_path=(name,))
    with pytest.raises(DataError, match="--allow_truncated"):
        dataset.refuse_unusable(data, spec)
    again = of_files(tmp_path, name, allow_truncated=True)
    assert "file_cut" not in codes(again)
    if again.rows_kept:
        dataset.refuse_unusable(again, dataclasses.replace(spec, allow_truncated=True))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Itâ€™s the cafÃ©.", "mojibake"),
        ("ä½ å¥½ã€‚", "mojibake"),
        ("lost \ufffd here", "replacement_character"),
        ("nul \0 here", "control_in_text"),
        ("It is done.</s>", "second_end"),
        ("It is done.<|im_end|>", "second_end"),
        ("It is <|endoftext|> done.", "special_token"),
        ("I think.</think>Done.", "think_unbalanced"),
        ("<think>I think. Done.", "think_unbalanced"),
    ],
)
def test_texts_that_are_damaged_or_hold_marks_are_named(
    tmp_path: Path, answer: str, code: str
) -> None:
    made = rows(lambda q, a, n: {"instruction": q, "output": answer if n == 2 else a})
    data = checked(tmp_path, made)
    assert problems(data) == [(3, code)]
    assert data.rows_kept == len(PAIRS)


@pytest.mark.parametrize(
    "answer",
    [
        "NÃO é ÂNGULO, più.",
        "<think>a</think>b",
        "a <b> c",
        "x < y | z",
        "Ângela e João",
        "你好，世界",
    ],
)
def test_texts_that_are_whole_are_not_doubted(tmp_path: Path, answer: str) -> None:
    data = checked(tmp_path, rows(lambda q, a, n: {"instruction": q, "output": f"{answer} {n}"}))
    assert problems(data) == []


# ----- words that are no path -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("https://example.org/x/train.jsonl", "--dataset_path train.jsonl"),
        ("https://huggingface.co/datasets/owner/name", "--dataset_path owner/name"),
        (
            "https://huggingface.co/datasets/owner/name/blob/main/a.json",
            "--dataset_path owner/name",
        ),
        ("huggingface.co/datasets/owner/name", "--dataset_path owner/name"),
        ("https://modelscope.cn/datasets/owner/name", "--dataset_path owner/name"),
        ("s3://bucket/x.jsonl", "aws s3 cp"),
        ("gs://bucket/x.jsonl", "gcloud storage cp"),
        ("-", "standard input"),
        ("a.jsonl,b.jsonl", "separated by spaces: --dataset_path a.jsonl b.jsonl"),
        ("C:\\data\\train.json", "/mnt/c/data/train.json"),
        ("*.parquet", "no file here fits this pattern"),
        ("$DATA/x.jsonl", "the shell left $DATA"),
        ("'a.jsonl'", "--dataset_path a.jsonl"),
        ("hf://datasets/owner/name/data/x.parquet", "--dataset_path owner/name"),
    ],
)
def test_a_word_that_is_no_path_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "a.jsonl", "b.jsonl")
    spec = DataSpec(dataset_path=(word,))
    with pytest.raises(DataError) as caught:
        dataset.account(spec, out_dir=tmp_path / "out")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "word", ["*.jsonl", "file://a.jsonl", "[ab].jsonl", "file://{here}/a.jsonl"]
)
def test_patterns_and_file_addresses_are_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "a.jsonl", "b.jsonl")
    spec = DataSpec(dataset_path=(word.format(here=tmp_path),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out", look=None)
    assert Path(data.files[0].path).name == "a.jsonl"


def test_a_mapping_beside_the_data_is_used_and_said(tmp_path: Path) -> None:
    entry = {
        "file_name": "d.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    listed = [{"talk": [{"who": "me", "what": q}, {"who": "it", "what": a}]} for q, a in PAIRS]
    (tmp_path / "d.json").write_text(json.dumps(listed))
    data = of_files(tmp_path, "d.json")
    found = canonical(data)[0]["conversations"]
    assert [(turn["from"], turn["value"]) for turn in found] == PAIR_OF_TURNS
    assert codes(data) == {"other_mapping"}


def test_a_list_of_datasets_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "d.json"}}))
    data = of_files(tmp_path, "dataset_info.json")
    assert "give the file that it names" in report(data)["problems"][0]["message"]
