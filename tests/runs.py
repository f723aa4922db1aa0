"""The rows and the flags of whole runs on a tiny model."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

ROWS = 48


def write_rows(path: Path, count: int = ROWS, answer: str = "It is") -> Path:
    rows = [
        {
            "instruction": f"What comes after {i} in list {i * 7919 % 1000}?",
            "output": f"{answer} {i + 1}, as 你好 {i * 104729 % 977}.",
        }
        for i in range(count)
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text(encoding="utf-8")))


def flags(model: Path, place: Path, run: str, *more: object) -> list[object]:
    return [
        *("--model_name_or_path", model, "--dataset_path", place / "训练 rows.json"),
        *("--output_dir", place / run, "--dataset_dir", place / "data"),
        *("--epochs", 1, "--score_samples", 2),
        *more,
    ]


def wait_for(process: "subprocess.Popen[str]", path: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)
