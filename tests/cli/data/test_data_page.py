import re
from pathlib import Path

from fine_tuning.cli.data.data_page import data_facts
from fine_tuning.dataset.check import account
from fine_tuning.report import write_data_report
from fine_tuning.values.spec import DataSpec
from tests.looks import DATA, look_of

ROWS = """\
{"instruction": "one", "output": "an answer"}
{"instruction": "two", "output": ""}
{"instruction": "three", "output": "<b>另一个回答</b>"}
{bad
"""


def test_the_page_of_a_real_check_shows_its_account_and_its_problems(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(ROWS, encoding="utf-8")
    data = account(DataSpec(dataset_path=(str(source),)), out_dir=tmp_path / "out")
    facts = data_facts(data, rejected="rejected.jsonl", report="report.json")
    html = write_data_report(tmp_path / "page.html", facts).read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>|\s+", " ", html)
    text = re.sub(r"\s+", " ", text)
    assert "2 of 4 rows are usable; 2 are not" in text
    assert "4 read = 2 kept + 2 dropped" in text
    assert f"first at {source}:2" in text
    assert f"first at {source}:4" in text
    assert "kept as they were in rejected.jsonl" in text
    assert [group.code for group in facts.data.problems if group.severity == "error"] == [
        group.code for group in data.problems if group.severity == "error"
    ]


def test_the_page_with_a_model_shows_template_lengths_and_rows_as_trained() -> None:
    facts = data_facts(DATA, look_of())
    assert facts.template == "alpaca"
    assert facts.parity is not None
    assert (facts.parity.equal, facts.parity.rows_compared) == (False, 8)
    assert facts.parity.differences[0].trained == ("a", "b")
    lengths = facts.data.lengths
    assert lengths is not None
    assert (lengths.cutoff, lengths.over_cutoff) == (1024, 2)
    assert lengths.bins == ((0, 600, 5), (600, 1200, 7))
    assert lengths.cutoff_costs == {128: 11, 1024: 2}
    assert facts.masked[0].title == "row 0: 2 of 4 tokens are trained"


def test_the_page_without_a_model_shows_no_tokens() -> None:
    facts = data_facts(DATA)
    assert (facts.template, facts.parity, facts.masked, facts.data.lengths) == ("", None, (), None)
