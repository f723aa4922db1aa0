"""Fuzz the readers: mutated files for a bounded time; prints executions and crashes.

    python bench/fuzz_readers.py [--seconds 60] [--seed 0]

Every execution must balance: each record is a value or UNREADABLE with exactly one error, lines
do not decrease and lie within the file, and nothing but DataError escapes. A file that takes
longer than --slow seconds counts as a hang. The bytes of a failure are kept beside the report.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fine_tuning.errors import DataError
from tests.dataset.read.conftest import read_file
from tests.dataset.read.corpus import CASES

NAMES = ("a.json", "a.jsonl", "a.csv", "a.tsv", "a.txt", "a.json.gz", "a.parquet", "a.arrow", "a")
TOKENS = [bytes([byte]) for byte in b'{}[]"\\,:\n\r\0 ;\t|1'] + [
    *(b'"a"', b'{"a": 1}', b'"data": [', b"NaN", b"\\ud800", b'\n  {\n    "a": 1\n  },'),
    *(b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", "你好".encode("gbk"), b'""', b"sep=;\n"),
]


def mutate(content: bytes, pool: list[bytes], chance: random.Random) -> bytes:
    """A few random edits: cut, repeat, splice, flip, insert a token."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 4, 16, 64)))
        kind = chance.randrange(6)
        if kind == 0:
            del data[at:end]
        elif kind == 1:
            data[at:at] = data[at:end] * chance.choice((1, 2, 50))
        elif kind == 2 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 3:
            data[at:at] = chance.choice(TOKENS) * chance.choice((1, 1, 2, 300))
        elif kind == 4:
            del data[at:]
        else:
            other = chance.choice(pool)
            data[at:end] = other[chance.randrange(len(other) + 1) :][:200]
    return bytes(data[:20_000])


def check(path: Path, content: bytes) -> None:
    """One execution; raises if something does not hold."""
    path.write_bytes(content)
    try:
        outcome = read_file(path)
    except DataError:
        return
    lines = [line for line, _ in outcome.rows]
    assert lines == sorted(lines), "lines decrease"
    assert all(1 <= line <= max(outcome.reading.lines, 1) for line in lines), "line outside file"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slow", type=float, default=5)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    pool = [case.content for case in CASES if 0 < len(case.content) < 20_000]
    crashes: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="fuzz_readers_"))
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        name = chance.choice(NAMES)
        content = mutate(chance.choice(pool), pool, chance)
        started = time.monotonic()
        try:
            check(folder / name, content)
            if time.monotonic() - started > options.slow:
                raise AssertionError("slow")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            cause = f"{type(error).__name__} {where.name}:{where.lineno} {str(error)[:60]}"
            if not crashes[cause]:
                (folder / f"crash{len(crashes)}_{name}").write_bytes(content)
            crashes[cause] += 1
        runs[name] += 1
    print(f"executions: {sum(runs.values())} ({', '.join(f'{n} {c}' for n, c in runs.items())})")
    print(f"crashes:    {sum(crashes.values())}")
    for cause, count in crashes.most_common():
        print(f"  {count} x {cause}")
    if crashes:
        print(f"kept in {folder}")
    return 1 if crashes else 0


if __name__ == "__main__":
    raise SystemExit(main())
