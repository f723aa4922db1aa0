"""Sizes of one model, measured by llama.cpp in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fine_tuning.disk.files import read_json, scratch
from fine_tuning.disk.resources import python_path
from fine_tuning.errors import EngineError
from fine_tuning.ship.llama_cpp.measure import NOT_USABLE, Job, Measured, Pair
from fine_tuning.ship.llama_cpp.serve import SMALL
from fine_tuning.values.codec import from_json, json_text

MODULE = "fine_tuning.ship.llama_cpp.measure"
ROUNDS = 3
OnProgress = Callable[[str, int, int], None]  # what, how many are done, of how many


def threads_for(file: Path) -> int:
    """As llama.cpp serves it (ship/llama_cpp/serve.py)."""
    return 1 if file.stat().st_size < SMALL else os.cpu_count() or 1


def measured(
    files: Sequence[Path],
    pairs: Sequence[Pair],
    *,
    stop_ids: Sequence[int],
    asks: bool,
    most_new: int,
    log: Path,
    told: OnProgress,
) -> list[Measured]:
    """What llama.cpp finds of each file; the first is the one that is not quantised. Raises
    EngineError where it cannot."""
    with scratch(files[0].parent) as place:
        job = Job(
            files=tuple(files),
            pairs=tuple(pairs),
            stop_ids=tuple(stop_ids),
            asks=asks,
            most_new=most_new,
            threads=threads_for(files[0]),
            rounds=ROUNDS,
            kept=place / "distributions",
            out=place / "found.json",
        )
        asked = place / "job.json"
        asked.write_text(json_text(job, root=Path(os.devnull)), encoding="utf-8")
        _run(asked, log, told)
        found = read_json(job.out, "repeat the command")
        return from_json(found["files"], list[Measured])


def _run(job: Path, log: Path, told: OnProgress) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        before = said.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, str(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "PYTHONPATH": python_path(os.environ.get("PYTHONPATH"))},
        )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event = json.loads(line)
            told(event["what"], event["done"], event["total"])
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if code:
        with log.open("rb") as said:
            said.seek(before)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
        why = lines[-1] if code == NOT_USABLE and lines else f"it ended with code {code}"
        raise EngineError(
            "llama.cpp did not measure the GGUF files.",
            why=why,
            fix=f"its whole output is in {log}; the files themselves are written",
        )
