"""The content check as a whole: warnings with places, totals, notes, and nothing given away."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fine_tuning.dataset.insight.examine import WARNINGS_PER_CODE, examine
from fine_tuning.dataset.insight.findings import Findings
from fine_tuning.dataset.insight.near.find import clusters_path, read_clusters
from fine_tuning.values.data import Problem
from tests.dataset.canonical_files import chat, write_canonical

MAIL = "anna.schmidt@firma-mueller.de"
KEY = "ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"


def look(
    folder: Path, rows: list[dict[str, Any]], *, near_duplicates: bool | None = None
) -> tuple[Findings, list[Problem]]:
    path = folder / "rows.jsonl"
    origins = write_canonical(path, rows)
    problems: list[Problem] = []
    findings = examine(
        path,
        origins,
        files=["data.jsonl"],
        near_duplicates=near_duplicates,
        problems=problems.append,
    )
    return findings, problems


def ordinary(count: int) -> list[dict[str, Any]]:
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdefghijklm", k=6)) for _ in range(500)]
    return [
        chat(
            f"Tell me about {' '.join(draw.choices(words, k=5))}.",
            f"{' '.join(draw.choices(words, k=30))}.",
        )
        for _ in range(count)
    ]


def test_ordinary_rows_raise_no_warning(tmp_path: Path) -> None:
    findings, problems = look(tmp_path, ordinary(60))
    assert problems == []
    assert findings.counts == {}
    assert findings.languages == {"latin": 60}
    assert findings.near is not None
    assert findings.near.rows == 0


def test_every_finding_names_the_line_and_the_code(tmp_path: Path) -> None:
    rows = [
        *ordinary(40),
        chat("Is it raining today in the town?", "Yes"),
        chat("Describe the river to a child.", "It <b>flows</b> to the sea."),
        chat("Say something new to me.", "Say something new to me."),
        chat("Give an example of a loop.", "Here:\n```python\nfor x in y:\n"),
        chat("Who wrote this letter?", f"Write to {MAIL} please.", system=f"Use {KEY}."),
    ]
    findings, problems = look(tmp_path, rows)
    assert [(p.line, p.code, p.severity) for p in problems] == [
        (41, "one_word_answer", "warning"),
        (42, "html_markup", "warning"),
        (43, "repeats_prompt", "warning"),
        (44, "cut_off", "warning"),
        (45, "personal_data", "warning"),
        (45, "secret", "warning"),
    ]
    assert problems[5].message == (
        "looks like it holds a GitHub token (40 characters) in the system prompt"
    )
    assert findings.counts["secret"] == 1
    assert findings.kinds == {"GitHub token": 1, "e-mail address": 1}


def test_no_secret_and_no_address_is_in_any_output(tmp_path: Path) -> None:
    rows = [chat("Who?", f"{MAIL} and {KEY} are {number}.") for number in range(3)]
    findings, problems = look(tmp_path, rows)
    output = json.dumps(dataclasses.asdict(findings)) + repr(problems)
    assert "secret" in output
    for part in (MAIL, "anna", "firma", KEY, KEY[4:20]):
        assert part not in output


def test_unfinished_answers_are_named_where_most_others_are_finished(tmp_path: Path) -> None:
    cut = chat("Go on with the story, please.", "word " * 40 + "and then the")
    findings, problems = look(tmp_path, [*ordinary(40), cut])
    assert [(p.line, p.code) for p in problems] == [(41, "cut_off")]
    assert findings.counts == {"cut_off": 1}


def test_answers_that_usually_end_without_a_stop_are_not_cut_off(tmp_path: Path) -> None:
    rows = ordinary(40)
    for row in rows:
        row["conversations"][1]["value"] = row["conversations"][1]["value"].rstrip(".")
    findings, problems = look(tmp_path, rows)
    assert problems == []
    assert findings.counts == {}


def test_one_word_answers_that_are_the_task_are_a_note(tmp_path: Path) -> None:
    rows = [chat(f"Classify the review number {n}.", "positive") for n in range(30)]
    findings, problems = look(tmp_path, rows)
    assert problems == []
    assert findings.counts["one_word_answer"] == 30
    assert "30 of 30 answers are one word: taken as the task" in findings.notes


def test_one_answer_for_all_rows_is_a_note_that_shows_no_secret(tmp_path: Path) -> None:
    rows = [chat(f"question {number}", f"Write to {MAIL} about it.") for number in range(6)]
    findings, _ = look(tmp_path, rows)
    [note] = [note for note in findings.notes if "the same" in note]
    assert note.startswith("all 6 answers are the same (Write to <e-mail address> about it.)")
    assert not look(tmp_path, [*rows, chat("another", "Another answer.")])[0].notes


def test_more_warnings_than_the_limit_are_counted(tmp_path: Path) -> None:
    rows = [
        chat(f"q {n}", f"write to person{n}@firma.de now") for n in range(WARNINGS_PER_CODE + 5)
    ]
    findings, problems = look(tmp_path, rows, near_duplicates=False)
    assert len(problems) == WARNINGS_PER_CODE
    assert findings.counts["personal_data"] == WARNINGS_PER_CODE + 5
    assert findings.notes == (
        "personal_data: the first 2,000 rows are named, and 5 more are counted",
    )


def test_kto_labels_out_of_balance_are_a_note(tmp_path: Path) -> None:
    rows = [{**row, "label": number > 1} for number, row in enumerate(ordinary(50))]
    findings, _ = look(tmp_path, rows)
    assert findings.labels == {"true": 48, "false": 2}
    assert "48 true, 2 false" in findings.notes[0]


def test_near_duplicates_name_the_other_row_and_are_kept_for_the_split(tmp_path: Path) -> None:
    rows = ordinary(30)
    copy = json.loads(json.dumps(rows[4]))
    copy["conversations"][1]["value"] += " Ok."
    findings, problems = look(tmp_path, [*rows, copy, rows[6]])
    assert [(p.line, p.code) for p in problems] == [(31, "near_duplicate")]
    assert problems[0].message.endswith("% of its text is the same as in data.jsonl:5")
    assert findings.counts == {"near_duplicate": 1}
    assert findings.near is not None
    assert (findings.near.rows, findings.near.clusters, findings.near.largest_cluster) == (1, 2, 2)
    clusters = read_clusters(tmp_path / "rows.jsonl", 32)
    assert clusters is not None
    assert clusters.tolist() == [*range(30), 4, 6]


def test_clusters_of_earlier_rows_do_not_stay(tmp_path: Path) -> None:
    look(tmp_path, ordinary(5))
    assert clusters_path(tmp_path / "rows.jsonl").exists()
    findings, _ = look(tmp_path, ordinary(5), near_duplicates=False)
    assert findings.near is None
    assert read_clusters(tmp_path / "rows.jsonl", 5) is None


def test_no_rows_and_rows_in_parquet(tmp_path: Path) -> None:
    findings, _ = look(tmp_path, [])
    assert (findings.rows, findings.answer_chars.rows) == (0, 0)
    rows = [{**row, "images": ["/a.png"]} for row in ordinary(3)]
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    origins = write_canonical(tmp_path / "other.jsonl", rows)
    findings = examine(path, origins, files=["d"], near_duplicates=None, problems=print)
    assert findings.answer_chars.rows == 3


@pytest.mark.parametrize("kind", ["text", "preference"])
def test_other_kinds_of_rows(tmp_path: Path, kind: str) -> None:
    turn = {"from": "user", "value": "A long text about rivers and the sea."}
    answer = {"from": "assistant", "value": ""}
    row: dict[str, Any] = {"conversations": [turn, answer]}
    if kind == "preference":
        chosen = {"from": "assistant", "value": "河流流向大海。"}
        row = {"conversations": [turn], "chosen": chosen, "rejected": {**chosen, "value": MAIL}}
    findings, problems = look(tmp_path, [row])
    assert findings.languages == ({"latin": 1} if kind == "text" else {"zh": 1})
    assert len(problems) == (0 if kind == "text" else 1)
