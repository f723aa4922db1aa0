"""`--json`: one object on standard output, whatever comes of the command."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.output.as_json import is_wanted, of_outcome
from fine_tuning.cli.output.outcome import Outcome, Words
from fine_tuning.cli.settings.commands import COMMANDS
from tests.commands import PROGRAM, read_told, starts_in_ascii, typed
from tests.dataset.rows_on_disk import write_jsonl

GOOD = {"instruction": "Name a colour of the sky.", "output": "It is blue."}
BLANK = {"instruction": "q", "output": ""}


def told(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    """The object, and what was said beside it."""
    code = cli.main([*words, "--json"])
    out, err = capfd.readouterr()
    read_told(out, err, code)
    found: dict[str, Any] = json.loads(out)
    return found, err


def test_a_dataset_with_an_unusable_row_is_a_result_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "a.jsonl", [GOOD, BLANK])
    found, err = told(capfd, "validate", "--dataset_path", "a.jsonl", "--report", "r.json")
    assert (found["command"], found["exit_code"]) == ("validate", 1)
    result = typed("validate", found["result"])
    assert (result.usable, result.rows_read, result.rows_kept) == (False, 2, 1)
    (problem,) = [it for it in result.problems if it.severity == "error"]
    assert (problem.first, problem.count) == ("a.jsonl:2", 1)
    assert result.report == Path("r.json") and result.rejected == Path("rejected.jsonl")
    assert "NOT OK: 1 of 2 rows" in err


def test_every_mistake_is_in_the_object(capfd: pytest.CaptureFixture[str]) -> None:
    found, err = told(capfd, "run", "--epochs", "x", "--sed", "1")
    error = found["error"]
    assert (found["exit_code"], error["kind"]) == (2, "UsageError")
    assert len(error["mistakes"]) == 2
    assert set(error["where"]) == {"--epochs", "--sed"}
    assert "--help` lists the flags" in error["next"]
    assert "error: 2 mistakes" in err


def test_a_damaged_file_is_named_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    found, _ = told(capfd, "export", "--output_dir", str(tmp_path), "--export_dir", "m")
    assert found["error"]["kind"] == "DataError"
    assert found["error"]["where"] == [str(tmp_path / "run.json")]
    assert found["error"]["next"]


def test_a_bug_names_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(words: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(cli, "dispatch", fail)
    found, _ = told(capfd, "runs")
    assert (found["exit_code"], found["error"]["kind"]) == (3, "Bug")
    (log,) = map(Path, found["error"]["where"])
    assert "Traceback" in log.read_text()
    log.unlink()


@starts_in_ascii
def test_what_a_child_process_prints_goes_beside_the_object(tmp_path: Path) -> None:
    """A library, or a program that a command starts, knows nothing of --json."""
    code = (
        "import os, sys; from fine_tuning.cli import main as cli\n"
        "from fine_tuning.cli.output.outcome import Outcome, Words\n"
        "def dispatch(words):\n"
        "    print('from python'); os.system('echo from a child')\n"
        "    return 'runs', (), Outcome(Words(text='\\udcff 中'), 1)\n"
        "cli.dispatch = dispatch\n"
        "sys.exit(cli.main(['runs', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PROGRAM.parent,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["result"] == {"text": "\udcff 中"}
    assert "from python" in done.stderr and "from a child" in done.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--json"], True),
        (["runs", "--json=true"], True),
        (["runs", "--json=false"], False),
        (["runs", "--no_json"], False),
        (["runs", "--json", "--no-json"], False),
        (["json"], False),
        ([], False),
    ],
)
def test_it_is_found_before_anything_else_is_understood(words: list[str], wanted: bool) -> None:
    assert is_wanted(words) is wanted


def test_a_number_that_is_not_finite_is_null() -> None:
    made = of_outcome("runs", Outcome({"a": [math.nan, 1.5], "b": math.inf}), ())
    assert made["result"] == {"a": [None, 1.5], "b": None}


def test_help_and_version_are_objects_too(capfd: pytest.CaptureFixture[str]) -> None:
    found, err = told(capfd, "version")
    assert found["result"]["text"] in err
    found, _ = told(capfd, "help", "runs")
    assert msgspec.convert(found["result"], Words).text.startswith("usage: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_its_mistakes_as_an_object(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found, _ = told(capfd, *name.split(), "--no_such_flag")
    assert (found["command"], found["exit_code"]) == (name, 2)
    assert found["error"]["where"] == ["--no_such_flag"]
