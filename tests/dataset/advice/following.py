"""What a message advises, on the input that caused it, and what following it gives."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.dataset import check as dataset
from fine_tuning.values.data import CheckedData
from tests.dataset.posted import PAIRS
from tests.dataset.rows_on_disk import write_jsonl

Content = Sequence[Any] | bytes | str | None  # rows, the file as it is, or: no such file
Files = Mapping[str, Content]
NAME = "d.jsonl"
LINK = "-> "  # what begins so is a link to that file
NOTHING = "nothing to do"
FLAG = re.compile(r"--[a-z_]{2,}")


@dataclass(frozen=True)
class Case:
    """Files that cause a problem, and what each part of its advice makes of them.

    A way is named by the words of the advice that it follows. It is the files as they are then
    (others stay), or the flags that are added. `stays`: the way answers the problem, which is named
    all the same.
    """

    files: Files
    ways: Mapping[str, Files | str] = field(default_factory=dict)
    given: str = ""  # flags beside --dataset_path
    paths: str = ""  # default: all files
    stays: bool = False


def alpaca(number: int, **changed: Any) -> dict[str, Any]:
    question, answer = PAIRS[number]
    return {"instruction": question, "output": answer, **changed}


REST = [alpaca(number) for number in (1, 2, 3)]


def row(bad: Any, ways: Mapping[str, Any], rest: Sequence[Any] | None = None) -> Case:
    """A file with one bad row before good ones; a way gives the row in its place, the rows, or ""
    where nothing is to be done."""
    rest = REST if rest is None else rest
    followed: dict[str, Files | str] = {}
    for words, good in ways.items():
        instead = good if isinstance(good, list) else [good]
        followed[words] = {NAME: [*instead, *rest]} if good != "" else ""
    return Case({NAME: [bad, *rest]}, followed)


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            continue
        if isinstance(content, str) and content.startswith(LINK):
            path.symlink_to(content.removeprefix(LINK))
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_bytes(content.encode())
        else:
            write_jsonl(path, content)


def checked(folder: Path, paths: str, flags: str) -> CheckedData:
    """What `validate --dataset_path PATHS FLAGS` finds; the words are read by the command."""
    words = ["--dataset_path", *shlex.split(paths), *shlex.split(flags)]
    spec = resolve(COMMANDS["validate"], words).spec
    return dataset.account(
        spec.data,
        out_dir=folder / "out",
        validation_paths=spec.val_dataset_path or (),
        name_leaks=True,
    )


def errors(data: CheckedData) -> list[tuple[str, str]]:
    return [(group.code, group.example) for group in data.problems if group.severity == "error"]


def ways_in(advice: str) -> Iterator[str]:
    """The flags of every way that a question names."""
    if "Choose" in advice or " | " in advice or "own:" in advice:
        for way in re.split(r"Choose:|Choose, for example:| \| |own:|is text:", advice)[1:]:
            yield re.split(r" \([a-z]|\n", way)[0].strip()


def files_in(advice: str) -> str:
    """The files that the advice gives; the command before it, which makes them, is run."""
    for command in re.findall(r"`(python -c [^`]+)`", advice):
        exec(shlex.split(command)[2], {})  # what the user is told to run
    match = re.search(r"--dataset_path ('[^']+'|[^\s,;]+)", advice)
    return match[1] if match else ""


def uncovered(advice: str, phrases: Sequence[str]) -> str:
    """The words of an advice that no phrase has."""
    for phrase in sorted(phrases, key=len, reverse=True):
        advice = advice.replace(phrase, " ", 1)
    return " ".join(re.sub(r"[,;:.]|\b(?:or|and)\b", " ", advice).split())
