"""The command line as a user meets it: output, exit codes, and how fast help answers."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.settings.catalogue import spec_settings
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.words.mistyped import ELSEWHERE, SAME
from fine_tuning.cli.settings.words.program import Command
from fine_tuning.errors import DataError, UsageError
from tests.commands import starts_in_ascii

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "llama_factory_fine_tuning.py"
HEAVY = ("torch", "transformers", "llamafactory", "numpy", "pyarrow", "rich", "yaml", "msgspec")


def call(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, os.fspath(ENTRY), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def imported(*words: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", os.fspath(ENTRY), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run", "-h"),
        ("help", "engine"),
        ("--no_such_flag",),
        *((*name.split(), "--help") for name in COMMANDS),
    ],
)
def test_help_and_mistakes_import_nothing_heavy(words: tuple[str, ...]) -> None:
    modules = imported(*words)
    assert "fine_tuning" in modules
    assert modules.isdisjoint(HEAVY)


def test_help_names_every_setting_in_80_columns() -> None:
    done = call("--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    for name in spec_settings():
        assert f"--{name}" in done.stdout
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_80_columns_and_shows_an_example(name: str) -> None:
    done = call(*name.split(), "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"python llama_factory_fine_tuning.py {name}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_its_function(command: Command) -> None:
    module, _, function = command.runner.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_help_engine_searches_and_shows_what_is_ours() -> None:
    assert "--lora_dropout (float)" in call("help", "engine", "lora_dropout").stdout
    assert "-> --epochs" in call("--help", "engine", "num_train_epochs").stdout
    assert "--warmup_steps" in call("run", "--help", "engine", "warmup").stdout
    wrong = call("help", "engine", "lora_dropot")
    assert wrong.returncode == 2
    assert "Did you mean --lora_dropout" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("valdate",), "'valdate' is not a command. Did you mean validate?"),
        (("train.yaml",), "given as --config train.yaml"),
        (("help", "exprt"), "Did you mean export?"),
        (("serve",), "`llamafactory-cli api --model_name_or_path MERGED_DIR`"),
        (("predict",), "Which model? --output_dir is the folder of a finished run"),
        (("upload",), "--repo_id is needed: the repository as owner/name."),
        (("list", "no_such"), "There is no directory no_such."),
        (("data/alpaca.json",), "given as --dataset_path data/alpaca.json."),
        (("Qwen/Qwen3-0.6B",), "given as --model_name_or_path Qwen/Qwen3-0.6B,"),
        (("merge",), "1. --output_dir is needed: the folder of a finished run; or "),
        (("--lora_rnk", "3"), "error: --lora_rnk is not a setting. Did you mean --lora_rank"),
        (("run", "--epochs", "x", "--sed", "1"), "error: 2 mistakes\n  1. "),
        (("export",), "1. --output_dir is needed: the folder of a finished run; or "),
        (("export", "--output_dir", "no_such", "--export_dir", "m"), "There is no folder no_such."),
    ],
)
def test_wrong_use_ends_with_2_and_says_how_to_go_on(words: tuple[str, ...], message: str) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_word_that_resembles_nothing_gets_no_guess() -> None:
    """`infer` was once taken for `run`, `list` for `validate`."""
    for word in ("deduce", "foo", "deploy", "rm"):
        assert "Did you mean" not in cli.unknown_command(word)


def test_every_word_leads_to_a_command_that_there_is() -> None:
    assert set(SAME.values()) <= set(COMMANDS)
    for text in ELSEWHERE.values():
        ours = re.findall(r"`(\w+)", text)
        assert set(ours) <= {*COMMANDS, "help", "hf", "llamafactory"}, text


def test_version() -> None:
    assert call("--version").stdout.startswith("llama-factory-fine-tuning 0.1.0 (llamafactory 0.")


def test_help_into_a_closed_pipe_is_quiet() -> None:
    line = f"{shlex.quote(sys.executable)} {shlex.quote(str(ENTRY))} --help | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("usage: ")
    assert done.stderr == ""


@starts_in_ascii
def test_an_ascii_locale_prints_every_message() -> None:
    command = [sys.executable, os.fspath(ENTRY), "--模型", "m"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=plain, timeout=60)
    assert done.returncode == 2
    assert b"is not a setting" in done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (DataError("No usable row in a.json.", why="w", fix="f"), 1, "No usable row in a.json."),
        (UsageError("wrong"), 2, "error: wrong"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ModuleNotFoundError("No module named 'msgspec'", name="msgspec"), 1, "package msgspec is"),
    ],
)
def test_each_error_has_its_exit_code(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(words: object) -> int:
        raise raised

    monkeypatch.setattr(cli, "dispatch", fail)
    assert cli.main([]) == code
    assert message in capsys.readouterr().err


def test_a_bug_ends_with_3_and_its_traceback_is_in_a_log_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: object) -> int:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(cli, "dispatch", fail)
    assert cli.main(["--hf_hub_token=secret", "--other", "secret"]) == 3
    text = capsys.readouterr().err
    assert "a bug in this program (RuntimeError: unexpected)" in text
    assert "Traceback" not in text
    log = Path(text.strip().rpartition(" ")[2])
    assert "Traceback" in log.read_text()
    assert "`--hf_hub_token` `--other`" in log.read_text()
    assert "secret" not in log.read_text()
    log.unlink()


ATTACK = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt\r"


@pytest.mark.parametrize(
    "words",
    [
        (ATTACK,),
        (f"--{ATTACK}",),
        ("help", ATTACK),
        ("run", "--dataset_path", ATTACK),
        ("run", "--model_name_or_path", f"./{ATTACK}"),
        ("run", "--output_dir", f"{ATTACK}[1]"),
        ("validate", "--dataset_path", f"{ATTACK}.jsonl"),
        ("validate", "--dataset_path", "a.jsonl", "--report", f"{ATTACK}/r.html"),
        ("run", "--config", f"{ATTACK}.yaml"),
        ("export", "--output_dir", ATTACK, "--export_dir", "m"),
    ],
    ids=lambda words: words[0] if words[0].isalpha() else "command",
)
def test_a_name_cannot_steer_the_terminal_through_an_error(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It cleared the screen and hid what it did."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) in (1, 2)
    said = "".join(capfd.readouterr())
    assert r"\x1b[2J" in said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)


@pytest.mark.parametrize("text", ['{"instruction": "", "output": "%s"}', "%s", '{"%s": 1}'])
def test_a_row_cannot_steer_the_terminal_through_a_check(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    escaped = json.dumps(ATTACK)[1:-1]
    (tmp_path / f"{ATTACK[:4]}.jsonl").write_text(text % escaped + "\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(text % ATTACK + "\n", encoding="utf-8")
    cli.main(("validate", "--dataset_path", ".", "--dataset_format", "alpaca"))
    said = "".join(capfd.readouterr())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)


def test_the_command_that_is_advised_can_be_typed_where_the_mistake_was_made(
    tmp_path: Path,
) -> None:
    """It began with `python`, which is another one where the environment is not active."""
    (tmp_path / "the tools 工具").symlink_to(ROOT)

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        known = {**os.environ, "PATH": ""}
        return subprocess.run(
            words, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=60
        )

    done = typed(sys.executable, f"the tools 工具/{ENTRY.name}", "run", "--lora_rnak", "8")
    assert done.returncode == 2, done.stderr
    (advised,) = re.findall(r"`(.+ --help)`", done.stderr)
    again = typed("/bin/sh", "-c", advised)
    assert again.returncode == 0, again.stderr
    assert "--lora_rank" in again.stdout


def test_an_old_python_is_told_in_one_line() -> None:
    """The entry file is run with the version made old; every Python 3 must be able to parse it."""
    fake = (
        "import sys, runpy; sys.version_info = (3, 8, 1); sys.version = '3.8.1 (old)';"
        f"runpy.run_path({os.fspath(ENTRY)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", fake], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stderr == "error: Python 3.11 or newer is needed; this is 3.8.1.\n"
    compile(ENTRY.read_text(), str(ENTRY), "exec", dont_inherit=True)


def test_without_the_packages_one_line_names_the_way_to_get_them(tmp_path: Path) -> None:
    """A Python without site-packages, as a first-time user has it."""
    command = [sys.executable, "-S", os.fspath(ENTRY), "run", "--dry_run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: The Python package ")
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_dash_of_a_word_processor_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["\N{EN DASH}epochs", "3", "--lora_rank", "8", "\N{EM DASH}batch_size", "4"]) == 2
    )
    text = capsys.readouterr().err
    assert "--epochs is meant" in text and "--batch_size is meant" in text


def test_ctrl_c_while_the_program_is_imported_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "entry.py").write_bytes(ENTRY.read_bytes())
    package = tmp_path / "fine_tuning" / "cli"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        # without it the installed package would be imported instead
        (folder / "__init__.py").touch()
    (package / "main.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "entry.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_path_that_is_too_long_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--output_dir", "a" * 300]) == 1
    assert "name a shorter path" in capsys.readouterr().err
