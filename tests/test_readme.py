"""Every command in the README runs; its translation has the same ones."""

import json
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.commands import ROOT, command
from tests.runs import write_rows

README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
# `make demo` and `make test` are what runs this; the recipes and the WebUI have tests of their own.
ELSEWHERE = ("make demo", "make test", "bash llama_factory_example.sh")


def commands(text: str) -> list[str]:
    """The shell commands of the code blocks, in order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


RUN_HERE = [line for line in commands(README) if line not in ELSEWHERE and "webui" not in line]


def test_the_translation_shows_the_same_commands() -> None:
    assert commands(CHINESE) == commands(README)


def test_the_translation_knows_the_same_messages() -> None:
    def messages(text: str) -> list[list[str]]:
        lines = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
        return [re.findall(r"`(.*?)`", cell) for cell in lines]

    assert messages(CHINESE) == messages(README)


def test_the_first_two_commands_are_the_two() -> None:
    assert commands(README)[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_the_first_40_lines_show_what_it_is_and_how_to_begin(text: str) -> None:
    first = "\n".join(text.splitlines()[:40])
    assert len(commands(first)) == 5
    assert "pip install ." in first and "`lfft`" in first
    assert len(re.findall(r"^- \*\*", first, re.MULTILINE)) == 5
    assert "PIP_INDEX_URL" in first or text is README


def test_each_promise_has_a_number_that_was_measured() -> None:
    table = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = table.partition("## The numbers in the README")[2]

    def numbers(text: str) -> list[str]:
        return re.findall(r"\*\*(\d[^*]*)\*\*", text)

    assert len(numbers(README)) >= 5
    assert numbers(CHINESE) == numbers(README)
    assert [number for number in numbers(README) if number not in table] == []


def test_nobody_counts_tests_by_hand() -> None:
    assert not re.search(r"\d[\d,]* (tests|passed)|\d+ 个测试", README + CHINESE)


def test_what_the_commands_write_is_ignored_by_git() -> None:
    words = [word for line in commands(README) for word in shlex.split(line)]
    flags = ("--output_dir", "--export_dir", "--report")
    written = [after for flag, after in pairwise(words) if flag in flags]
    done = subprocess.run(
        ["git", "check-ignore", *{f"{name}/x" if "." not in name else name for name in written}],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert len(done.stdout.splitlines()) == len(set(written)) > 3, done.stdout


def test_every_linked_file_exists() -> None:
    for text in (README, CHINESE):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_flag_in_the_text_is_known() -> None:
    from fine_tuning.cli.settings.commands import COMMANDS, catalogue

    catalogues = [catalogue(one) for one in COMMANDS.values()]
    for text in (README, CHINESE):
        for flag in set(re.findall(r"--([a-z_]{3,})", text)) - {"help", "demo", "version"}:
            assert any(known.find(flag) for known in catalogues), f"--{flag}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's data in it; `configs` is where its text says."""
    folder = tmp_path_factory.mktemp("readme")
    write_rows(folder / "my_data.json", 40)
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


@pytest.mark.engine
@pytest.mark.parametrize("line", RUN_HERE)
def test_command(line: str, place: Path, tiny_model: Path) -> None:
    """As written, with a local model in place of the Hub's name and few steps."""
    if "--deepspeed" in line and " " in str(ROOT):
        pytest.skip("DeepSpeed compiles nothing where the path of its environment holds a space")
    words = [w.replace("Qwen/Qwen3-0.6B", str(tiny_model)) for w in shlex.split(line)[2:]]
    if not words or words[0].startswith("--"):
        words += ["--max_steps", "2", "--score_samples", "2"]
    done = command(*words, cwd=place)
    assert done.returncode == 0, done.stdout
    if "--report" in words:
        report = json.loads((place / "report.json").read_text(encoding="utf-8"))
        assert report["rows_read"] == report["rows_kept"] == 40
