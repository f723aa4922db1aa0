"""Files of other tools, files that are damaged, and files that are no text."""

import dataclasses
import json
from pathlib import Path

import pytest

from fine_tuning.dataset import check as dataset
from fine_tuning.dataset.read.json import lines
from fine_tuning.dataset.read.raw.stream import CHUNK
from fine_tuning.errors import DataError
from fine_tuning.values.spec import DataSpec
from tests.dataset.advice.following import files_in
from tests.dataset.posted import ASK, PAIRS, SAY, codes, rows, turns
from tests.dataset.rows_on_disk import (
    account,
    account_of,
    problems,
    report,
)

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
    "rows under keys": (
        "d.json",
        json.dumps({f"q{n}": {"instruction": q, "output": a} for n, (q, a) in enumerate(PAIRS)}),
    ),
    "arena": (
        "d.jsonl",
        "".join(
            json.dumps(
                {
                    "winner": "model_a",
                    "conversation_a": turns(q, a),
                    "conversation_b": turns(q, "No idea."),
                }
            )
            + "\n"
            for q, a in PAIRS
        ),
    ),
    "numbered answers": (
        "d.jsonl",
        "".join(
            json.dumps({"prompt": q, "response_0": a, "response_1": "No.", "better_response_id": 0})
            + "\n"
            for q, a in PAIRS
        ),
    ),
    "ranked answers": (
        "d.jsonl",
        "".join(
            json.dumps(
                {
                    "prompt": f"\n\nHuman: {q}\n\nAssistant: ",
                    "answers": [{"answer": "No.", "rank": 2}, {"answer": a, "rank": 1}],
                }
            )
            + "\n"
            for q, a in PAIRS
        ),
    ),
    "moss": (
        "d.jsonl",
        "".join(
            json.dumps(
                {
                    "num_turns": 1,
                    "chat": {
                        "turn_1": {
                            "Human": f"<|Human|>: {q}<eoh>\n",
                            "MOSS": f"<|MOSS|>: {a}<eom>\n",
                        }
                    },
                }
            )
            + "\n"
            for q, a in PAIRS
        ),
    ),
    "json in json": (
        "d.jsonl",
        "".join(json.dumps(json.dumps({"prompt": q, "response": a})) + "\n" for q, a in PAIRS),
    ),
    "printed rows": (
        "d.jsonl",
        "".join(f"{ {'prompt': q, 'response': a} }\n" for q, a in PAIRS),
    ),
    "questions in a text": ("d.txt", "".join(f"Q: {q}\nA: {a}\n\n" for q, a in PAIRS)),
    "questions in a chinese text": ("d.txt", "".join(f"问：{q}\n答：{a}\n\n" for q, a in PAIRS)),
    "yaml of a dict": (
        "d.yml",
        "version: '3'\nrows:\n"
        + "".join(f"- prompt: {json.dumps(q)}\n  response: {json.dumps(a)}\n" for q, a in PAIRS),
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
    made = files_in(message)
    again = dataset.account(
        dataclasses.replace(spec, dataset_path=(made.strip("'"),)),
        out_dir=tmp_path / "again",
        look=None,
    )
    assert again.rows_kept == len(PAIRS)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("d.csv", "".join(f'"{text}"\n' for text in SAY), len(SAY)),
        ("d.csv", "把手轮向左转。\n用两升机油。\n", 2),
        ("d.tsv", "".join(f"{q}\t{a}\n" for q, a in PAIRS), len(PAIRS)),
    ],
)
def test_a_table_without_a_header_loses_no_row(
    tmp_path: Path, name: str, content: str, rows: int
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    data = account_of(tmp_path, name)
    assert (data.rows_read, "no_header" in codes(data)) == (rows, True)
    if not data.rows_kept:
        named = account_of(tmp_path, name, columns={"instruction": "1", "output": "2"})
        assert named.rows_kept == rows
    else:
        assert data.rows_kept == rows


def test_the_rows_after_a_first_line_that_is_too_long_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD", CHUNK)
    content = [{"instruction": "q", "output": "word " * (CHUNK // 2)}]
    content += [{"instruction": q, "output": a} for q, a in PAIRS]
    text = "".join(json.dumps(row) + "\n" for row in content)
    (tmp_path / "d.jsonl").write_text(text, encoding="utf-8")
    data = account_of(tmp_path, "d.jsonl")
    assert (data.rows_read, data.rows_kept) == (len(PAIRS) + 1, len(PAIRS))
    assert codes(data) == {"record_too_long"}


def test_a_chat_history_is_no_plain_text(tmp_path: Path) -> None:
    lines = [
        f"[12.03.24, 14:0{n}:11] {'Ann' if n % 2 else 'Bob'}: {q}" for n, q in enumerate(ASK * 2)
    ]
    (tmp_path / "_chat.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert codes(account_of(tmp_path, "_chat.txt")) == {"kind_doubtful"}
    assert account_of(tmp_path, "_chat.txt", text_unit="line").rows_kept == len(lines)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", {"name": "Ann", "type": "personal_chat", "messages": [{"from": "Ann"}] * 2}),
        ("d.json", {"guild": {"id": "1"}, "messages": [{"content": "Hi", "author": {}}] * 2}),
        ("d.json", [{"tokens": ["a", "b"], "ner_tags": [0, 1]}] * 3),
        ("d.json", [{"input_ids": [1, 2], "labels": [-100, 2]}] * 3),
    ],
)
def test_what_cannot_be_converted_is_called_by_its_name(
    tmp_path: Path, name: str, content: object
) -> None:
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert "other_form" in codes(account_of(tmp_path, name))


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
    data = account_of(tmp_path, name)
    assert data.rows_kept == kept
    assert "--text_unit" in data.files[0].evidence
    assert account_of(tmp_path, name, text_unit="document").rows_kept == 1
    assert account_of(tmp_path, name, text_unit="line").rows_kept > 1


@pytest.mark.parametrize("name", ["rows.txt", "notes.log", "corpus"])
def test_a_file_whose_kind_is_a_guess_is_asked_about(tmp_path: Path, name: str) -> None:
    content = "a,b\n1,2\n3,4\n" if name == "rows.txt" else "Once there was a valve.\nIt leaked.\n"
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert codes(account_of(tmp_path, name)) == {"kind_doubtful"}
    for unit in ("line", "document"):
        assert account_of(tmp_path, name, text_unit=unit).rows_kept > 0


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
    data = account_of(tmp_path, name)
    assert "file_cut" in codes(data)
    spec = DataSpec(dataset_path=(name,))
    with pytest.raises(DataError, match="--allow_truncated"):
        dataset.refuse_unusable(data, spec)
    again = account_of(tmp_path, name, allow_truncated=True)
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
    data = account(tmp_path, made)
    assert problems(data) == [(3, code)]
    assert data.rows_kept == len(PAIRS)


@pytest.mark.parametrize(
    ("before", "code", "said"),
    [
        ("plain", "encoding", "which decides 1 of its lines: 2"),
        ("你好 été", "undecodable", "byte 0xe9 on line 2"),
    ],
)
def test_a_stray_byte_is_named_with_its_line(
    tmp_path: Path, before: str, code: str, said: str
) -> None:
    lines = [
        f'{{"instruction": "q{n}", "output": "{text}"}}\n' for n, text in enumerate((before, "é"))
    ]
    (tmp_path / "d.jsonl").write_bytes(lines[0].encode() + lines[1].encode("latin-1"))
    [group] = account_of(tmp_path, "d.jsonl").problems
    assert (group.code, said in group.example) == (code, True)


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
    data = account(tmp_path, rows(lambda q, a, n: {"instruction": q, "output": f"{answer} {n}"}))
    assert problems(data) == []
