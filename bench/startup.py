"""How long `--help` takes to answer, beside LLaMA-Factory's: `python bench/startup.py`."""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.15  # seconds, on a quiet machine


def seconds(command: list[str], times: int) -> list[float]:
    """Wall time of each call, the first one (which fills the disk cache) left out."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def main() -> int:
    """Print the times; 1 if ours is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--without_engine", action="store_true", help="time only our own help")
    given = parser.parse_args()
    entry = str(ROOT / "llama_factory_fine_tuning.py")
    python = sys.executable
    rows = {
        "python -c pass": ([python, "-c", "pass"], given.times),
        "--help": ([python, entry, "--help"], given.times),
        "validate --help": ([python, entry, "validate", "--help"], given.times),
        "help engine": ([python, entry, "help", "engine"], given.times),
    }
    engine = shutil.which("llamafactory-cli", path=str(Path(python).parent))
    if engine and not given.without_engine:
        rows["llamafactory-cli help"] = ([engine, "help"], 1)
    best = {}
    for name, (command, times) in rows.items():
        taken = seconds(command, times)
        best[name] = min(taken)
        print(f"{name:<22} {statistics.median(taken):.3f} s median, {min(taken):.3f} s best")
    return int(best["--help"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
