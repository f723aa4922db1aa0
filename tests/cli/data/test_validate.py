"""`validate` as a user meets it: the terminal, the report, the dropped rows, the exit code."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.data.validate import run
from fine_tuning.errors import DataError
from fine_tuning.values.spec import DataSpec
from tests.dataset.rows_on_disk import messages, write_jsonl

GOOD = {"instruction": "Name a colour of the sky.", "input": "", "output": "It is blue."}
BLANK = {"instruction": "q", "input": "", "output": ""}


def validate(*paths: Path, report: Path | None = None) -> int:
    return run(DataSpec(dataset_path=tuple(map(str, paths)), near_duplicates=False), report).code


def test_good_data_is_ok(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "good.jsonl", [GOOD])
    assert validate(Path("good.jsonl")) == 0
    out = capsys.readouterr().out
    assert "good.jsonl  alpaca     1     1        0" in out
    assert "good.jsonl: alpaca, by columns instruction, output in all rows" in out
    assert out.splitlines()[-1] == "OK: the 1 row is usable"
    assert [path.name for path in tmp_path.iterdir()] == ["good.jsonl"]


def test_no_ok_stands_over_text_that_is_not_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    row["messages"][1]["loss_weight"] = 0.3  # type: ignore[assignment]
    assert validate(write_jsonl(tmp_path / "part.jsonl", [row])) == 0
    out = capsys.readouterr().out
    assert "USABLE, BUT NOT ALL OF IT: the 1 row is usable; in 1 place something" in out
    assert not any(line.startswith("OK") for line in out.splitlines())


def test_a_mixed_directory_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", [GOOD, BLANK, "{oops"])
    write_jsonl(folder / "b.jsonl", [messages(("user", "q"))] * 312)
    (folder / "c.json").write_bytes(b"\x89PNG\r\n\x1a\n0000")
    assert validate(Path("mixed"), report=tmp_path / "report.json") == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    flat = " ".join(out.split())
    expected = "312 rows: assistant turn missing at the end [last_turn_not_assistant] first at"
    assert f"{expected} mixed/b.jsonl:1" in flat
    assert "next: add the answer, or remove the last turn" in flat
    assert "PNG picture" in flat
    said = "NOT OK: 314 of 315 rows (99.7%) are unusable, and 1 file cannot be used as it is"
    assert said in flat
    page = (tmp_path / "report.html").read_text()
    headline = page.partition('<h2 class="headline alone">')[2].partition("</h2>")[0]
    assert headline == "1 of 315 rows are usable; 314 are not; 1 file cannot be used"
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["format"], written["rows_read"], written["rows_dropped"]) == (
        "alpaca",
        315,
        314,
    )
    assert len((tmp_path / "rejected.jsonl").read_text().splitlines()) == 314
    assert "<html" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_cannot_be_read_is_exit_code_1(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [GOOD])
    (tmp_path / "b.json").write_text("")
    assert validate(tmp_path / "a.jsonl", tmp_path / "b.json") == 1


def test_rows_that_somebody_is_mending_are_not_overwritten(tmp_path: Path) -> None:
    data, report = tmp_path / "data.jsonl", tmp_path / "report.json"
    write_jsonl(data, [GOOD, BLANK])
    validate(data, report=report)
    rejected = tmp_path / "rejected.jsonl"
    rejected.write_text('{"instruction": "q", "output": "mended')
    validate(data, report=report)
    assert rejected.read_text() == json.dumps(BLANK) + "\n"
    assert (tmp_path / "rejected.1.jsonl").read_text() == '{"instruction": "q", "output": "mended'
    validate(rejected, report=report)
    assert rejected.read_text() == json.dumps(BLANK) + "\n"


def test_a_file_is_not_counted_as_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("")
    Path("b.json").write_text("")
    write_jsonl(Path("c.json"), [GOOD, {**GOOD, "output": "It is grey."}])
    assert validate(Path("a.json"), Path("b.json"), Path("c.json"), report=Path("r.json")) == 1
    out = capsys.readouterr().out
    assert "2 files: file is empty [empty_file]" in out
    assert "1 file: JSON Lines in a .json file" in out
    assert "NOT OK: 2 files cannot be used as they are; 2 rows are usable" in out
    assert "<strong>2 files</strong> file is empty" in Path("r.html").read_text()
    causes = json.loads(Path("r.json").read_text())["causes"]
    assert [(cause["count"], cause["files"]) for cause in causes] == [(2, 2), (1, 1)]


@pytest.mark.parametrize("name", ["glob*[x].jsonl", "[red]a.jsonl", "中文 a.jsonl"])
def test_a_file_name_is_shown_to_the_letter(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path(name), [GOOD])
    validate(Path(name))
    assert f"\n{name}  alpaca" in capsys.readouterr().out


def test_a_pattern_that_no_shell_has_expanded_names_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").mkdir()
    for name in ("part 1.jsonl", "part 2.jsonl", "other.jsonl"):
        write_jsonl(Path("my data", name), [{**GOOD, "output": name}])
    assert validate(Path("my data/part *.jsonl")) == 0
    out = capsys.readouterr().out
    assert "my data/part 2.jsonl  alpaca" in out and "other" not in out


def test_a_line_break_in_a_file_name_does_not_break_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("a\nb.jsonl"), [GOOD])
    validate(Path("a\nb.jsonl"))
    assert "\na\\nb.jsonl  alpaca     1" in capsys.readouterr().out


def test_files_of_a_directory_that_cannot_be_opened_are_named_and_the_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    write_jsonl(folder / "a.jsonl", [GOOD])
    write_jsonl(tmp_path / "elsewhere.jsonl", [GOOD])
    (folder / "gone.jsonl").symlink_to("nowhere.jsonl")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.json")
    real = os.scandir

    def closed(path: Any = ".") -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert validate(Path("data"), report=tmp_path / "report.json") == 1
    written = json.loads((tmp_path / "report.json").read_text())
    found = {p["file"]: p["message"] for p in written["problems"] if p["severity"] == "error"}
    assert found == {
        "data/gone.jsonl": "data/gone.jsonl: a link to nowhere.jsonl, which leads to no file",
        "data/pipe.json": "data/pipe.json: this is no regular file (a device, pipe or socket)",
        "data/sub": "data/sub: the directory cannot be listed (Permission denied)",
    }
    assert (written["rows_read"], written["rows_kept"]) == (1, 1)
    out = " ".join(capsys.readouterr().out.split())
    assert "NOT OK: 3 files cannot be used as they are; 1 row is usable" in out
    assert "linked/ (a link)" in out


def test_training_rows_that_the_validation_data_holds_are_named(tmp_path: Path) -> None:
    words = "the quick brown fox jumps over the lazy dog near a quiet river bank at dawn"
    rows = [{"instruction": f"{words} {i}?", "output": f"{i}: {words[::-1]}"} for i in range(3)]
    train = write_jsonl(tmp_path / "train.jsonl", [BLANK, *rows])
    other = {**rows[1], "output": "Something else entirely, said in other words."}
    near = {**rows[2], "output": rows[2]["output"] + "!"}
    held_out = write_jsonl(tmp_path / "held.jsonl", [rows[0], other, near])
    report = tmp_path / "out" / "report.json"
    run(DataSpec(dataset_path=(str(train),)), report, validation_paths=[str(held_out)])
    leaks = [p for p in json.loads(report.read_text())["problems"] if "leak" in p["code"]]
    assert [(p["file"], p["line"], p["row"], p["code"]) for p in leaks] == [
        (str(train), 2, 1, "leak_duplicate"),
        (str(train), 3, 2, "leak_prompt"),
        (str(train), 4, 3, "leak_prompt"),
    ]
    assert leaks[0]["message"] == f"the same row is in the validation data ({held_out}:1)"


def test_a_check_that_cannot_start_leaves_its_own_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("a.jsonl"), [GOOD])
    assert validate(Path("a.jsonl"), report=Path("r.json")) == 0
    with pytest.raises(DataError):
        validate(Path("gone.jsonl"), report=Path("r.json"))
    written = json.loads(Path("r.json").read_text("utf-8"))
    assert [p["code"] for p in written["problems"]] == ["start_failed"]
    assert "gone.jsonl: there is no such file" in written["problems"][0]["message"]
    assert not Path("r.html").exists()
    assert validate(Path("a.jsonl"), report=Path("r.json")) == 0
