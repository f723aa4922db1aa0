"""The checks for machines with GPUs name flags that this program takes and tests that exist."""

import re
import shlex
from pathlib import Path

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from tests.commands import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8").partition("## On a GPU\n")[2]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
OURS = "python llama_factory_fine_tuning.py "


@pytest.mark.parametrize("line", [it for it in LINES if OURS in it])
def test_every_setting_of_a_check_is_known(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "fsdp.json").write_text('{"fsdp_version": 2}', encoding="utf-8")
    monkeypatch.setattr("fine_tuning.engine.arguments.rules.find_spec", lambda package: True)
    words = shlex.split(line.partition(OURS)[2])
    found = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    name = max(found, key=len, default="")
    assert resolve(COMMANDS[name or "run"], words[len(name.split()) :]).warnings == ()


def test_every_check_says_what_the_suite_shows_and_what_must_be_seen() -> None:
    sections = PAGE.split("\n### ")[1:]
    assert [text.partition(".")[0] for text in sections] == [
        str(number) for number in range(1, len(sections) + 1)
    ]
    for text in sections:
        assert "In the suite: " in text and "\nMust: " in text and "```bash\n" in text, text
    for path in re.findall(r"`((?:tests|bench)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).exists(), path
