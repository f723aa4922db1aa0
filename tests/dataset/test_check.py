"""A whole check: accounts, files, origins, formats of files, and when it stops."""

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset import check as dataset
from fine_tuning.dataset.account import schedule
from fine_tuning.dataset.account.report import copy_whole
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.problems import CAUSES
from fine_tuning.errors import DataError, UsageError
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DATASET_FORMATS, DataSpec
from tests.dataset.rows_on_disk import (
    PIXEL,
    account,
    canonical,
    chat,
    messages,
    problems,
    report,
    write_jsonl,
)

GOOD = {"instruction": "q", "input": "", "output": "a"}
BLANK = {"instruction": "q", "input": "", "output": ""}


def numbered(count: int) -> list[dict[str, str]]:
    return [{"instruction": f"q{i}", "input": "", "output": f"a{i}"} for i in range(count)]


def test_rows_origins_rejected_and_report_fit_together(tmp_path: Path) -> None:
    data = account(tmp_path, [*numbered(2), "", BLANK, "{oops", *numbered(4)[2:]])
    assert (data.rows_read, data.rows_kept, data.rows_dropped) == (6, 4, 2)
    assert canonical(data) == [chat(f"q{i}", f"a{i}") for i in range(4)]
    origins = read_origins(data.origins_path, [file.path for file in data.files])
    assert [origins.of(i)[1] for i in range(4)] == [1, 2, 6, 7]
    assert data.rejected_path.read_text() == json.dumps(BLANK) + "\n{oops\n"
    named = [(p["line"], p["row"], p["code"], p["severity"]) for p in report(data)["problems"]]
    assert (4, 2, "answer_empty", "error") in named
    assert (5, 3, "json_syntax", "error") in named


def test_a_row_in_a_file_of_one_line_is_named_by_its_number(tmp_path: Path) -> None:
    source = tmp_path / "one.json"
    source.write_text(json.dumps([GOOD, GOOD | {"input": "i"}, BLANK]), encoding="utf-8")
    spec = DataSpec(dataset_path=(str(source),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert [group.first for group in data.problems] == [f"{source}:1 (row index 2)"]
    origins = read_origins(data.origins_path, [str(source)])
    assert [origins.place(row) for row in (0, 1)] == [
        f"{source}:1",
        f"{source}:1 (kept row index 1)",
    ]


def test_the_report_follows_the_contract(tmp_path: Path) -> None:
    data = account(tmp_path, [GOOD, BLANK])
    target = tmp_path / "deep" / "report.json"
    copy_whole(data.report_path, target)
    written = json.loads(target.read_text())
    assert written["format"] == "alpaca"
    assert (written["rows_read"], written["rows_kept"], written["rows_dropped"]) == (2, 1, 1)
    [problem] = [p for p in written["problems"] if p["severity"] == "error"]
    assert problem == {
        "file": str(tmp_path / "data.jsonl"),
        "line": 2,
        "row": 1,
        "code": "answer_empty",
        "message": "output is blank; expected an answer",
        "severity": "error",
    }


def test_the_format_is_that_of_most_rows_not_of_the_first(tmp_path: Path) -> None:
    first = messages(("user", "q"), ("assistant", "a"))
    data = account(tmp_path, [first, *numbered(5)])
    assert data.files[0].format == "alpaca"
    assert data.files[0].evidence == "columns instruction, output in 5 rows, not in 1"
    assert data.rows_kept == 6
    assert problems(data) == [(1, "other_format")]


def test_later_rows_overrule_the_first_look(tmp_path: Path) -> None:
    text = [{"text": f"t{i}"} for i in range(250)]
    data = account(tmp_path, [*text, *numbered(400)])
    assert data.files[0].format == "alpaca"
    assert data.rows_kept == 400
    assert data.counts["row_differs"] == 250


def test_a_tie_asks_for_the_format(tmp_path: Path) -> None:
    both: dict[str, Any] = {"messages": [], "conversations": []}
    with pytest.raises(UsageError, match=r"openai, sharegpt[\s\S]*--dataset_format openai"):
        account(tmp_path, [both])


def test_columns_are_mapped(tmp_path: Path) -> None:
    rows = [{"问题": "q", "回答": "a"}]
    data = account(tmp_path, rows, columns={"instruction": "问题", "output": "回答"})
    assert (data.format, canonical(data)) == ("alpaca", [chat("q", "a")])


def test_text_column_and_the_only_column(tmp_path: Path) -> None:
    named = account(tmp_path, [{"body": "t", "id": 1}], text_column="body")
    assert (named.format, named.kind, named.rows_kept) == ("text", "text", 1)
    only = account(tmp_path, [{"body": "t"}])
    assert (only.format, only.files[0].evidence) == ("text", "its only column: text=body")


def test_the_named_column_is_read_where_a_column_has_our_name_as_well(tmp_path: Path) -> None:
    rows = [
        {"output_zh": "yes", "instruction": "q", "output": "no"},
        {"instruction": "q", "output": "no", "output_zh": "yes"},
    ]
    data = account(tmp_path, rows, columns={"output": "output_zh"})
    assert canonical(data) == [chat("q", "yes")] * 2
    body = [{"body": "yes", "text": "no"}, {"text": "no", "body": "yes"}, {"content": "no"}]
    texts = account(tmp_path, body, text_column="body")
    assert [row["conversations"][0]["value"] for row in canonical(texts)] == ["yes", "yes"]
    assert problems(texts)[-1] == (3, "text_missing")


def test_a_misspelt_column_is_not_replaced_by_another(tmp_path: Path) -> None:
    data = account(tmp_path, [{"content": "t", "id": 1}], text_column="contents")
    assert (data.rows_kept, problems(data)) == (0, [(1, "text_missing")])
    assert data.findings["notes"] == [
        "no column is called contents in the first rows, which have content, id",
        "columns that are not read: id",
    ]


def test_a_label_that_means_nothing_is_called_that(tmp_path: Path) -> None:
    labels = (True, False, 1, "yes", None)
    rows = [{"prompt": f"q{n}", "completion": "a", "label": it} for n, it in enumerate(labels)]
    data = account(tmp_path, rows)
    expected = [(4, "label_invalid"), (5, "label_missing")]
    assert (data.format, problems(data)[-2:]) == ("kto", expected)


def test_json_lines_without_a_suffix_are_nothing_odd(tmp_path: Path) -> None:
    (tmp_path / "data").write_text(json.dumps(GOOD) + "\n" + json.dumps(BLANK) + "\n")
    spec = DataSpec(dataset_path=(str(tmp_path / "data"),))
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert data.counts == {"answer_empty": 1}


def test_a_table_without_rows_is_not_ok(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "zero.parquet")
    spec = DataSpec(dataset_path=(str(tmp_path / "zero.parquet"),))
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert data.counts == {"no_records": 1}


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    data = account(tmp_path, [{"foo": "1", "bar": "2"}])
    assert (data.format, data.rows_kept) == ("unknown", 0)
    assert problems(data) == [(None, "columns_unknown"), (1, "format_unknown")]
    with pytest.raises(DataError, match="columns of no known format") as error:
        dataset.refuse_unusable(data, DataSpec())
    assert "--columns instruction=foo,output=bar (a prompt and its answer)" in str(error.value)


def test_files_of_several_formats_work_together(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", [GOOD])
    second = write_jsonl(tmp_path / "b.jsonl", [messages(("user", "r"), ("assistant", "b"))])
    data = dataset.check(DataSpec(dataset_path=(str(first), str(second))), out_dir=tmp_path / "out")
    assert (data.format, [file.format for file in data.files]) == ("mixed", ["alpaca", "openai"])
    assert canonical(data) == [chat("q", "a"), chat("r", "b")]
    table = np.fromfile(data.origins_path, dtype=[("file", "<u4"), ("line", "<u8")])
    assert table.tolist() == [(0, 1), (1, 1)]


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", [GOOD])
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    second = write_jsonl(tmp_path / "b.jsonl", [pair])
    spec = DataSpec(dataset_path=(str(first), str(second)))
    with pytest.raises(DataError, match=r"different kinds: chat, preference"):
        dataset.check(spec, out_dir=tmp_path / "out")
    assert report_at(tmp_path)["counts"]["kind_differs"] == 1


def report_at(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "out" / "report.json").read_text())


def test_too_many_bad_rows_stop_after_the_report_is_written(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [*numbered(8), BLANK])
    spec = DataSpec(dataset_path=(str(source),), max_bad_rows=0.1)
    with pytest.raises(DataError, match=r"1 of 9 rows .* more than --max_bad_rows 0.1"):
        dataset.check(spec, out_dir=tmp_path / "out")
    assert report_at(tmp_path)["rows_dropped"] == 1
    assert (tmp_path / "out" / "rejected.jsonl").read_text() == json.dumps(BLANK) + "\n"
    kept = DataSpec(dataset_path=(str(source),), max_bad_rows=0.2)
    assert dataset.check(kept, out_dir=tmp_path / "out").rows_kept == 8


def test_repeats_are_named_and_dropped_only_on_request(tmp_path: Path) -> None:
    rows = [*numbered(2), GOOD, BLANK, GOOD]
    data = account(tmp_path, rows)
    assert (data.rows_kept, problems(data)) == (4, [(4, "answer_empty"), (5, "duplicate_row")])
    [repeat] = [p for p in report(data)["problems"] if p["code"] == "duplicate_row"]
    assert (repeat["row"], repeat["message"]) == (4, "the same as line 3")
    fewer = account(tmp_path, rows, dedup=True)
    assert (fewer.rows_read, fewer.rows_kept, fewer.rows_dropped) == (5, 3, 2)
    assert canonical(fewer) == [chat("q0", "a0"), chat("q1", "a1"), chat("q", "a")]
    assert len(np.fromfile(fewer.origins_path, dtype="u1")) == 3 * 12
    assert fewer.fingerprint != data.fingerprint


def test_a_repeat_in_another_file_names_that_file(tmp_path: Path) -> None:
    paths = [write_jsonl(tmp_path / name, [GOOD]) for name in ("a.jsonl", "b.jsonl")]
    spec = DataSpec(dataset_path=tuple(map(str, paths)), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out")
    [repeat] = [p for p in report(data)["problems"] if p["code"] == "duplicate_row"]
    assert (repeat["file"], repeat["message"]) == (str(paths[1]), f"the same as {paths[0]}, line 1")


def test_validation_rows_are_kept_apart(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "data.jsonl", numbered(3))
    held_out = write_jsonl(tmp_path / "held_out.jsonl", [GOOD])
    spec = DataSpec(dataset_path=(str(train),))
    data = dataset.check(spec, out_dir=tmp_path / "out", validation_paths=(str(held_out),))
    assert (data.rows_kept, data.validation_rows, len(canonical(data))) == (4, 1, 3)
    assert data.validation_path is not None
    assert json.loads(data.validation_path.read_text()) == chat("q", "a")
    with pytest.raises(DataError, match="for training and for validation"):
        dataset.check(spec, out_dir=tmp_path / "out", validation_paths=(str(train),))


def test_media_rows_become_typed_parquet(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PIXEL)
    seen = {**messages(("user", "<image>?"), ("assistant", "cat")), "images": ["cat.png"]}
    data = account(tmp_path, [messages(("user", "q"), ("assistant", "a")), seen])
    assert data.rows_path.suffix == ".parquet"
    assert data.columns == {"conversations", "system", "tools", "images"}
    import pyarrow.parquet as parquet

    rows = parquet.read_table(data.rows_path).to_pylist()
    assert [row["images"] for row in rows] == [[], [str(tmp_path / "cat.png")]]


def test_rows_with_weights_become_typed_parquet(tmp_path: Path) -> None:
    """From JSON, a first weight after 10 MB of rows without one would end the loading."""
    turns = messages(("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b"))
    turns["messages"][1]["weight"] = 0
    data = account(tmp_path, [messages(("user", "q"), ("assistant", "a")), turns])
    assert data.columns == {"conversations", "system", "tools", "weight"}
    rows = pq.read_table(data.rows_path).to_pylist()
    weights = [[turn["weight"] for turn in row["conversations"]] for row in rows]
    assert weights == [[None, None], [None, 0, None, None]]


def test_reasoning_is_counted(tmp_path: Path) -> None:
    thought = {**GOOD, "output": "<think>\nhm\n</think>\n\na"}
    data = account(tmp_path, [GOOD, thought, {**GOOD, "instruction": "<think>"}])
    assert data.findings["reasoning"] == {"with": 1, "without": 2}


def test_renamed_roles_are_said_once_for_the_file(tmp_path: Path) -> None:
    turns = [{"from": "user", "value": "q"}, {"from": "bot", "value": "a"}]
    data = account(tmp_path, [{"conversations": turns}] * 2)
    [problem] = [p for p in report(data)["problems"] if p["code"] == "role_renamed"]
    assert (problem["line"], problem["row"]) == (None, None)
    assert problem["message"] == "read as: user (2 turns), bot -> assistant (2 turns)"


def test_fingerprint_changes_with_the_kept_rows_only(tmp_path: Path) -> None:
    first = account(tmp_path, numbered(3)).fingerprint
    assert account(tmp_path, [*numbered(3), BLANK]).fingerprint == first
    assert account(tmp_path, numbered(4)).fingerprint != first


def two_workers(tmp_path: Path, rows: list[Any], workers: int) -> CheckedData:
    return account(tmp_path, rows, num_workers=workers)


def test_several_processes_give_the_same(tmp_path: Path) -> None:
    rows: list[Any] = numbered(12_000)
    rows[5000], rows[9000], rows[11_000], rows[11_500] = BLANK, "{oops", "", rows[3]
    rows = [row if isinstance(row, str) else {**row, "pad": "x" * 60} for row in rows]
    one = two_workers(tmp_path, rows, 1)
    first_report, origins = report(one), one.origins_path.read_bytes()
    two = two_workers(tmp_path, rows, 2)
    assert (two.fingerprint, two.origins_path.read_bytes()) == (one.fingerprint, origins)
    for key in ("rows_read", "rows_kept", "problems", "files", "counts"):
        assert report(two)[key] == first_report[key]


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", numbered(100))
    seen: list[schedule.Progress] = []
    spec = DataSpec(dataset_path=(str(source),))
    dataset.check(spec, out_dir=tmp_path / "out", progress=seen.append)
    assert seen[-1] == schedule.Progress(source.stat().st_size, source.stat().st_size)


def test_rejected_rows_can_be_mended_and_fed_again(tmp_path: Path) -> None:
    turn = messages(("user", "q"))
    data = account(tmp_path, [*numbered(3), BLANK, turn, '{"instruction": "r", "output": "b"'])
    mended = data.rejected_path.read_text().replace('"output": ""', '"output": "c"')
    mended = mended.replace("]}", ', {"role": "assistant", "content": "d"}]}')
    mended = mended.replace('"b"', '"b"}')
    again = account(tmp_path, mended.splitlines())
    assert (again.rows_read, again.rows_kept) == (3, 3)
    assert canonical(again) == [chat("q", "c"), chat("q", "d"), chat("r", "b")]


NAMES = "instruction input output messages conversations role content from value prompt completion"
MORE = (
    "label chosen rejected text system tools history images type name arguments tool_calls weight"
)
names = st.sampled_from([*NAMES.split(), *MORE.split()])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
formats = st.sampled_from(DATASET_FORMATS)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(json_values, min_size=1, max_size=6), formats)
def test_any_json_gives_a_balanced_account(tmp_path: Path, rows: list[Any], name: str) -> None:
    try:
        data = account(tmp_path, [{}, *map(json.dumps, rows)], dataset_format=name)
    except UsageError as tie:
        assert name == "auto" and "--dataset_format" in str(tie)
        return
    assert data.rows_read == data.rows_kept + data.rows_dropped == len(rows) + 1
    assert len(canonical(data)) == data.rows_kept
    errors = {p["row"] for p in report(data)["problems"] if p["severity"] == "error"}
    assert len(errors - {None}) == data.rows_dropped
    assert len(data.rejected_path.read_text().splitlines()) == data.rows_dropped


def test_every_code_has_its_cause_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    rows = [line.replace("`<", "<").replace(">`", ">") for line in text.splitlines()]
    known = [f"| `{code}` | {cause.title} | {cause.fix} |" for code, cause in CAUSES.items()]
    assert [line for line in known if line not in rows] == []


@pytest.mark.parametrize("written", ["1.0", "1.10", "1e5", "12345678901234567890123", "1E-7"])
@pytest.mark.parametrize(
    "layout", ['{{"instruction": "q", "output": {}}}\n', '[{{"instruction": "q",\n"output": {}}}]']
)
def test_a_number_keeps_its_notation(tmp_path: Path, written: str, layout: str) -> None:
    source = tmp_path / "data.json"
    source.write_text(layout.format(written))
    spec = DataSpec(dataset_path=(str(source),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert canonical(data) == [chat("q", written)]
    assert "number_as_text" in data.counts


@pytest.mark.parametrize(
    ("values", "answer", "codes"),
    [
        (pa.array([Decimal("1.10")]), "1.10", [(1, "number_as_text")]),
        (pa.array(["天".encode()]), "天", [(1, "bytes_as_text")]),
        (pa.array([b"\xff\xfe"]), None, [(1, "answer_not_text")]),
        (pa.array([float("nan")]), None, [(1, "nan"), (1, "answer_empty")]),
    ],
)
def test_columns_of_other_types(
    tmp_path: Path, values: Any, answer: str | None, codes: list[tuple[int, str]]
) -> None:
    source = tmp_path / "data.parquet"
    pq.write_table(pa.table({"instruction": ["q"], "output": values}), source)
    spec = DataSpec(dataset_path=(str(source),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert canonical(data) == ([chat("q", answer)] if answer else [])
    assert [(p["line"], p["code"]) for p in report(data)["problems"] if p["line"]][:2] == codes


KEY = "sk-proj-AbCdEf0123456789AbCdEf0123456789AbCd"


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "q", "output": ["a", KEY]},
        {"instruction": "q", "output": {KEY: "mail bob.smith@corp.io"}},
        '{"instruction": "q", "output": +8613912345678}',
        f"{KEY}: {KEY}",
        {"bob.smith@corp.io": KEY},
        {"messages": [{"role": KEY, "content": "a"}]},
    ],
)
def test_what_is_said_of_a_bad_row_never_shows_its_secrets(tmp_path: Path, row: Any) -> None:
    data = account(tmp_path, [row, *numbered(3)])
    assert data.rows_dropped == 1
    said = data.report_path.read_text() + str(data.problems)
    for secret in ("AbCdEf", "bob.smith", "139123"):
        assert secret not in said


def test_a_named_column_wins_over_another_name_of_the_same_thing(tmp_path: Path) -> None:
    rows = [{"instruction": f"q{i}", "output": "real", "foo": "named"} for i in range(3)]
    data = account(tmp_path, rows, columns={"answer": "foo"})
    assert canonical(data) == [chat(f"q{i}", "named") for i in range(3)]
    assert problems(data) == []


def test_a_second_column_for_the_same_thing_is_named(tmp_path: Path) -> None:
    rows = [{"instruction": f"q{i}", "query": "", "output": "a"} for i in range(250)]
    rows[240]["query"] = "text"
    data = account(tmp_path, rows)
    [asked] = [p["message"] for p in report(data)["problems"] if p["code"] == "column_unread"]
    assert asked.startswith('"query" differs from instruction (text). Choose: ')
    assert "--columns input=query (below instruction)" in asked
    assert data.rows_kept == 250


def test_the_evidence_is_that_of_all_rows(tmp_path: Path) -> None:
    first = [messages(("user", f"q{i}"), ("assistant", "a")) for i in range(250)]
    data = account(tmp_path, [*first, *numbered(400)])
    assert data.files[0].evidence == (
        "columns instruction, output or response or answer or completion in 400 rows, not in 250"
    )


def test_a_split_of_a_local_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dataset_split chooses a part of a Hub dataset"):
        account(tmp_path, [GOOD], dataset_split="validation")


@pytest.mark.parametrize(
    ("content", "format", "kept"),
    [
        ("instruction;output\nq;a\nbroken\n", "alpaca", 1),
        ("instruction^output\nq^a\nr^b\n", "unknown", 0),
        ("notes\nfirst; second\nthird\n", "text", 2),
    ],
)
def test_a_table_with_another_delimiter_is_never_read_as_text(
    tmp_path: Path, content: str, format: str, kept: int
) -> None:
    source = tmp_path / "data.csv"
    source.write_text(content)
    spec = DataSpec(dataset_path=(str(source),), near_duplicates=False)
    data = dataset.account(spec, out_dir=tmp_path / "out")
    assert (data.files[0].format, data.rows_kept) == (format, kept)


def test_columns_that_nobody_reads_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "completion": "c", "thumbs": True, "id": i} for i in range(3)]
    assert account(tmp_path, rows).findings["notes"][0] == "columns that are not read: thumbs, id"
    assert "not read" not in str(account(tmp_path, numbered(3)).findings["notes"])


def test_the_error_of_a_failed_download_is_no_text(tmp_path: Path) -> None:
    data = account(tmp_path, [{"error": "Entry not found"}])
    assert data.rows_kept == 0
    assert problems(data) == [(None, "columns_unknown"), (1, "format_unknown")]


def test_dedup_does_not_take_rows_from_the_validation_data(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "a.jsonl", [*numbered(2), numbered(1)[0]])
    held_out = write_jsonl(tmp_path / "b.jsonl", numbered(1))
    spec = DataSpec(dataset_path=(str(train),), near_duplicates=False, dedup=True)
    data = dataset.account(spec, out_dir=tmp_path / "out", validation_paths=[str(held_out)])
    assert [file.rows_kept for file in data.files] == [2, 1]
    assert data.validation_rows == 1


def test_ten_thousand_files_take_seconds_and_one_way(tmp_path: Path) -> None:
    """Each file once left six files and a thread, and was counted against all before it."""
    files = 2_000
    (tmp_path / "data").mkdir()
    for number in range(files):
        rows = [{"instruction": f"{number}?", "output": f"The answer is {number}."}]
        rows += [BLANK] * (number == 7)
        write_jsonl(tmp_path / "data" / f"{number:05}.jsonl", rows)
    seen: list[schedule.Progress] = []
    spec = DataSpec(dataset_path=(str(tmp_path / "data"),), near_duplicates=True)
    began = time.process_time()
    data = dataset.account(spec, out_dir=tmp_path / "out", progress=seen.append)
    assert time.process_time() - began < 30 * files / 10_000
    assert (data.rows_kept, data.rows_dropped, len(data.files)) == (files, 1, files)
    assert json.loads(data.rejected_path.read_bytes()) == BLANK
    assert [(p["line"], p["row"]) for p in report(data)["problems"]] == [(2, 1)]
    done = [at.done for at in seen]
    assert done == sorted(done)
    assert {at.total for at in seen} == {done[-1]}
    assert done[-1] == sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert len(set(done)) > 50
