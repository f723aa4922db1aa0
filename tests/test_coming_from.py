"""Every line of docs/coming-from.md works; its translation has the same ones."""

import json
import re
import shlex
from pathlib import Path

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from tests.commands import ROOT, command
from tests.runs import write_rows

PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "docs" / "coming-from.zh-CN.md").read_text(encoding="utf-8")
HUB_NAME = "Qwen/Qwen3-0.6B"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


LINES = [line for block in blocks(PAGE, "bash") for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with the files that the page names."""
    folder = tmp_path_factory.mktemp("coming")
    rows = json.loads(write_rows(folder / "my_data.json", 40).read_text(encoding="utf-8"))
    (folder / "texts.csv").write_text("body\n" + "".join(f'"{one["output"]}"\n' for one in rows))
    pairs = [
        {"prompt": one["instruction"], "chosen": one["output"], "rejected": f"No idea {place}."}
        for place, one in enumerate(rows)
    ]
    (folder / "mlx").mkdir()
    for name, kept in {
        "pairs.jsonl": pairs,
        "mlx/train.jsonl": rows[:30],
        "mlx/valid.jsonl": rows[30:],
    }.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in kept))
    for name, text in zip(("prefix.yaml", "sft.yaml"), blocks(PAGE, "yaml"), strict=True):
        (folder / name).write_text(text.replace(HUB_NAME, str(tiny_model)), encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"mine": {"file_name": "my_data.json"}}')
    return folder


def test_the_translation_shows_the_same_lines() -> None:
    assert blocks(CHINESE, "bash") == blocks(PAGE, "bash")
    assert blocks(CHINESE, "yaml") == blocks(PAGE, "yaml")


@pytest.mark.parametrize("line", LINES)
def test_every_setting_of_a_line_is_known(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = shlex.split(line)[2:]
    name = "run" if words[0].startswith("--") else words.pop(0)
    told = [text for text in resolve(COMMANDS[name], words).warnings if "not used: " not in text]
    assert told == []


@pytest.mark.slow
@pytest.mark.engine
def test_every_line_runs(place: Path, tiny_model: Path) -> None:
    """In the order of the page, with few steps; a hub is not here to be downloaded from."""
    for line in LINES:
        words = [word.replace(HUB_NAME, str(tiny_model)) for word in shlex.split(line)[2:]]
        if words[0] == "download":
            continue
        if words[0].startswith("--"):
            words += ["--max_steps", "2", "--score_samples", "2"]
        done = command(*words, cwd=place)
        assert done.returncode == 0, f"{line}\n{done.stdout}"
