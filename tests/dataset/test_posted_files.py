"""Files of other tools, files that are damaged, and files that are no text."""

import dataclasses
import json
from pathlib import Path

import pytest

from fine_tuning.dataset import check as dataset
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
    made = files_in(message)
    again = dataset.account(
        dataclasses.replace(spec, dataset_path=(made.strip("'"),)),
        out_dir=tmp_path / "again",
        look=None,
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
