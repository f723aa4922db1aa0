"""Small datasets written for a test, and what a check makes of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.dataset import check as dataset
from fine_tuning.dataset.insight.rows import read_lines
from fine_tuning.dataset.problems import CAUSES
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import DataSpec

# A GIF of one pixel.
PIXEL = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    """The rows as JSON Lines; a text stands for a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def account(
    tmp_path: Path, rows: Sequence[Any], name: str = "data.jsonl", **settings: Any
) -> CheckedData:
    """The account of one JSON Lines file with these rows."""
    write_jsonl(tmp_path / name, rows)
    return account_of(tmp_path, name, **settings)


def account_of(tmp_path: Path, *names: str, **settings: Any) -> CheckedData:
    """The account of files that lie there; the folder itself has no name."""
    paths = tuple(str(tmp_path / name) for name in names)
    spec = DataSpec(dataset_path=paths, near_duplicates=False, **settings)
    return dataset.account(spec, out_dir=tmp_path / "out")


def canonical(data: CheckedData) -> list[dict[str, Any]]:
    """The kept rows, also where they are a typed table."""
    return [json.loads(line) for line in read_lines(data.rows_path)]


def report(data: CheckedData) -> dict[str, Any]:
    """The report as JSON."""
    written: dict[str, Any] = json.loads(data.report_path.read_text("utf-8"))
    return written


def problems(data: CheckedData) -> list[tuple[int | None, str]]:
    """(line, code) of every problem that is not about the content of a good row."""
    structural = set(CAUSES)
    return [(p["line"], p["code"]) for p in report(data)["problems"] if p["code"] in structural]


def chat(*texts: str, system: str = "", tools: str = "", **more: Any) -> dict[str, Any]:
    """A canonical row with user and assistant by turns."""
    roles = ("user", "assistant")
    turns = [{"from": roles[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"conversations": turns, "system": system, "tools": tools, **more}


Turns = Sequence[Mapping[str, str]]


def messages(*pairs: tuple[str, Any]) -> dict[str, Any]:
    """An OpenAI row."""
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}
