"""Memory and speed of reading a large generated file of each kind.

    python bench/read_memory.py [--megabytes 200]

Each kind is read in a process of its own; growth is that of the peak resident memory over the
process with the readers imported. It must stay below --limit megabytes (150).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fine_tuning.dataset.read import decode_block, open_batches
from fine_tuning.dataset.sources import HubChoice, find_sources
from fine_tuning.values.data import Block

ROW = {"instruction": "Tell me about the number", "input": "", "output": "words and " * 30}
KINDS = ("jsonl", "crlf.jsonl", "json", "pretty.json", "csv", "one_row.json", "txt")


def pieces(kind: str, size: int) -> Iterator[bytes]:
    """The content of a file of about `size` bytes."""
    if kind == "one_row.json":
        yield b'[{"output": "' + b"x" * (size // 4) + b'"}]'
        return
    row = json.dumps(ROW, indent=2 if kind.startswith("pretty") else None).encode()
    opening, join, closing = b"", b"\n", b"\n"
    if kind == "txt":
        row = b"plain words and " * 20
    if kind == "csv":
        opening, row = b"instruction,output\n", b'"a ""b""\nc",' + b"words and " * 30
    elif kind.endswith("json"):
        opening, join, closing = b"[", b",\n", b"]"
    elif kind == "crlf.jsonl":
        join = b"\r\n"
    block = join.join([row] * 1000)
    yield opening
    for i in range(size // len(block) + 1):
        yield (join if i else b"") + block
    yield closing


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(path: str) -> None:
    """Read one file; print rows, CPU seconds and growth of the peak in MB."""
    before, started, rows = peak(), time.process_time(), 0
    (source,) = find_sources([path], hub=HubChoice())
    for batch in open_batches(source):
        records = decode_block(batch) if isinstance(batch, Block) else batch
        rows += len(records.values)
    print(rows, time.process_time() - started, peak() - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--measure")
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return 0
    worst = 0
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a.{kind}"
            with path.open("wb") as file:
                file.writelines(pieces(kind, options.megabytes << 20))
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, seconds, growth = (float(part) for part in done.stdout.split())
        worst = max(worst, int(growth)) if kind != "one_row.json" else worst
        print(f"{kind:14} {rows:9.0f} rows {rows / seconds:9.0f} rows/s (CPU)  +{growth:.0f} MB")
    return 0 if worst < options.limit else 1


if __name__ == "__main__":
    raise SystemExit(main())
