"""Prompts without an answer are read for rewards, in every format, and else refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fine_tuning.dataset import check
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec
from tests.dataset.rows_on_disk import write_jsonl

BLANK = {"role": "assistant", "content": " "}
ASKED = [f"What is {n} and {n * 7 % 5}?" for n in range(6)]


def table(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def parquet(path: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ASKED}), path)
    return path


def lines(of: Callable[[str], dict[str, Any]]) -> Callable[[Path], Path]:
    return lambda folder: write_jsonl(folder / "rows.jsonl", [of(asked) for asked in ASKED])


WRITTEN: dict[str, Callable[[Path], Path]] = {
    "prompt": lines(lambda q: {"prompt": q}),
    "prompt as messages": lines(lambda q: {"prompt": [{"role": "user", "content": q}]}),
    "openai": lines(lambda q: {"messages": [{"role": "user", "content": q}]}),
    "openai, blank": lines(lambda q: {"messages": [{"role": "user", "content": q}, BLANK]}),
    "sharegpt": lines(lambda q: {"conversations": [{"from": "human", "value": q}]}),
    "alpaca": lines(lambda q: {"instruction": q, "input": "", "output": ""}),
    "alpaca, null": lines(lambda q: {"instruction": q, "input": "", "output": None}),
    "csv": lambda folder: table(folder / "rows.csv", ["prompt"], [[q] for q in ASKED]),
    "csv, blank": lambda folder: table(
        folder / "rows.csv", ["instruction", "output"], [[q, ""] for q in ASKED]
    ),
    "parquet": lambda folder: parquet(folder / "rows.parquet"),
}


def account(path: Path, **wishes: Any) -> CheckedData:
    spec = DataSpec(dataset_path=(str(path),), near_duplicates=False, **wishes)
    return check.account(spec, out_dir=path.parent / "checked")


@pytest.mark.parametrize("name", WRITTEN)
def test_prompts_alone_are_read_where_they_may_be(name: str, tmp_path: Path) -> None:
    path = WRITTEN[name](tmp_path)
    data = account(path, allow_unanswered=True)
    assert (data.rows_kept, data.rows_dropped) == (6, 0)
    rows = [json.loads(line) for line in data.rows_path.read_text("utf-8").splitlines()]
    turns = [[(turn["from"], turn["value"]) for turn in row["conversations"]] for row in rows]
    assert turns == [[("user", q), ("assistant", "")] for q in ASKED]
    (group,) = data.problems
    assert (group.code, group.count, group.severity) == ("unanswered", 6, "warning")
    refused = account(path)
    assert (refused.rows_kept, refused.rows_dropped) == (0, 6)
    assert {it.code for it in refused.problems} <= {
        *("answer_missing", "answer_empty", "last_turn_not_assistant")
    }


def test_a_null_answer_among_others_says_nothing_about_the_file(tmp_path: Path) -> None:
    rows = [{"instruction": q, "output": None if n % 3 else "Yes."} for n, q in enumerate(ASKED)]
    data = account(write_jsonl(tmp_path / "rows.jsonl", rows))
    assert (data.format, data.rows_kept, data.rows_dropped) == ("alpaca", 2, 4)
    assert {it.code for it in data.problems} == {"answer_missing"}


def test_only_the_last_answer_may_be_missing(tmp_path: Path) -> None:
    turns = [("user", "A?"), ("assistant", ""), ("user", "B?"), ("assistant", "B.")]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]}]
    data = account(write_jsonl(tmp_path / "rows.jsonl", rows), allow_unanswered=True)
    assert data.rows_kept == 0 and data.problems[0].code == "answer_empty"
