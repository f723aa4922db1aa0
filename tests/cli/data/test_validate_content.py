"""What looks wrong in well-formed rows, from the command to terminal, report and page."""

import json
from pathlib import Path

import pytest

from fine_tuning.cli.data.validate import run
from fine_tuning.values.spec import DataSpec
from tests.dataset.rows_on_disk import write_jsonl

LONG = "The river rises in the hills and flows through three countries before it meets the sea. "
ODD = {
    "html_markup": ("Say it.", "<p>One&nbsp;answer</p> with what a web page left in it."),
    "placeholder_left": ("Greet him.", "Dear {{customer_name}}, the river has been measured."),
    "refusal": ("Where does it end?", "As an AI language model, I cannot see where it ends."),
    "repeats_prompt": ("Which is the longest river of all?", "Which is the longest river of all?"),
    "cut_off": ("Print it.", f"{LONG}\n```python\nprint('never closed'"),
    "one_word_answer": ("Which colour is the sky?", "blue"),
    "personal_data": ("Who wrote it?", "Write to jane.roe@hospital-nord.org about the river."),
    "near_duplicate": ("Tell me about rivers.", f"{LONG * 3}It is long."),
}


def test_odd_rows_are_named_by_line_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        (f"Question {n}?", f"Answer {n} has a sentence of its own: {n * 7919}.") for n in range(40)
    ]
    rows += [
        ("Tell me about rivers.", f"{LONG * 3}It is wide."),
        *ODD.values(),
        ("天空是什么颜色？", "天空是蓝色的。"),
    ]
    path = write_jsonl(
        tmp_path / "d.jsonl", [{"instruction": asked, "output": said} for asked, said in rows]
    )
    assert run(DataSpec(dataset_path=(str(path),)), tmp_path / "report.json").code == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    named = {problem["code"]: problem["line"] for problem in report["problems"]}
    assert named == {code: 42 + number for number, code in enumerate(ODD)}
    assert report["findings"]["languages"] == {"latin": 49, "zh": 1}
    assert report["findings"]["answer_chars"]["longest"] == len(ODD["near_duplicate"][1])
    out, page = capsys.readouterr().out, (tmp_path / "report.html").read_text(encoding="utf-8")
    for code in ODD:
        assert f"[{code}]" in out and code in page
    assert "zh" in page and "hospital-nord" not in out + page + json.dumps(report)


def test_kto_labels_out_of_balance_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": f"q{n}", "completion": f"An answer to question {n}.", "label": n > 0}
        for n in range(30)
    ]
    path = write_jsonl(tmp_path / "d.jsonl", rows)
    assert run(DataSpec(dataset_path=(str(path),)), tmp_path / "report.json").code == 0
    said = "the KTO labels are out of balance: 29 true, 1 false"
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in (tmp_path / "report.html").read_text(encoding="utf-8")
