"""How fast data is read, checked and converted, beside LLaMA-Factory's own loading.

    python bench/data.py                              # 400,000 rows, one process each, 2 workers
    python bench/data.py --rows 100000 --format openai
    python bench/data.py --memory 100000 1000000      # peak memory as the number of rows grows

Every measurement is a process of its own on the same file; imports are not counted. What both do:
read the file, convert every row to the form that training takes, write it to disk. `validate` is
the whole command: it also looks at the content of every row, and writes report and page. The ratio
by CPU time (of the main process) is the steadier one where other programs run.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = 4000

LLAMAFACTORY = """
import shutil, sys, time
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import Seq2SeqTrainingArguments
folder, workers = sys.argv[1], int(sys.argv[2])
[attributes] = get_dataset_list(["bench"], folder)
model = ModelArguments(model_name_or_path="none", cache_dir=folder + "/cache")
data = DataArguments(dataset_dir=folder, overwrite_cache=True,
                     preprocessing_num_workers=workers if workers > 1 else None)
training = Seq2SeqTrainingArguments(output_dir=folder + "/out", use_cpu=True)
shutil.rmtree(folder + "/cache", ignore_errors=True)
start, cpu_start = time.perf_counter(), time.process_time()
rows = len(_load_single_dataset(attributes, model, data, training))
"""
OURS = """
import shutil, sys, time
from pathlib import Path
folder, workers = sys.argv[1], int(sys.argv[2])
if __name__ == "__main__":  # other processes begin with this file, as they do with the command's
    from fine_tuning.dataset.check import account
    from fine_tuning.values.spec import DataSpec
    spec = DataSpec(dataset_path=(folder + "/data.jsonl",), num_workers=workers)
    shutil.rmtree(folder + "/ours", ignore_errors=True)
    start, cpu_start = time.perf_counter(), time.process_time()
    rows = account(spec, out_dir=Path(folder) / "ours", look=None).rows_kept
"""
VALIDATE = """
import io, shutil, sys, time
from contextlib import redirect_stdout
from pathlib import Path
from fine_tuning.cli.data import data_page, validate
from fine_tuning.cli.screens import tables
from fine_tuning.values.spec import DataSpec
folder, near = sys.argv[1], {"0": None, "1": True}[sys.argv[2]]
spec = DataSpec(dataset_path=(folder + "/data.jsonl",), num_workers=1, near_duplicates=near)
shutil.rmtree(folder + "/report", ignore_errors=True)
start, cpu_start = time.perf_counter(), time.process_time()
with redirect_stdout(io.StringIO()) as told:
    assert validate.run(spec, Path(folder) / "report" / "report.json").code == 0
rows = int(told.getvalue().split(" rows are usable")[0].split()[-1].replace(",", ""))
"""
CONTENT = """
import sys, time
from pathlib import Path
from fine_tuning.dataset.insight.examine import examine
folder, near = Path(sys.argv[1]) / "ours", {"0": False, "1": True}[sys.argv[2]]
start, cpu_start = time.perf_counter(), time.process_time()
rows = examine(folder / "rows.jsonl", folder / "rows.origins", files=["data.jsonl"],
               near_duplicates=near, problems=lambda problem: None).rows
"""
NEAR = """
import sys, time
from pathlib import Path
from fine_tuning.dataset.insight.near.find import find_near_duplicates
path, rows = Path(sys.argv[1]) / "ours" / "rows.jsonl", int(sys.argv[2])
start, cpu_start = time.perf_counter(), time.process_time()
find_near_duplicates([path], rows)
"""
REPORT = """
if __name__ == "__main__":
    import json, resource
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = time.process_time() - cpu_start
    found = {"rows": rows, "seconds": seconds, "cpu": cpu, "peak_kb": used.ru_maxrss}
    print("RESULT", json.dumps(found))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the flags ask for and print it."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        if options.memory:
            _print_memory(folder, options)
        else:
            _print_speed(folder, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--format", choices=("alpaca", "openai"), default="alpaca")
    parser.add_argument("--workers", type=int, default=2, help="processes of the second measure")
    parser.add_argument("--memory", type=int, nargs="+", help="numbers of rows")
    parser.add_argument("--skip_llamafactory", action="store_true")
    parser.add_argument("--near", action="store_true", help="look for near-duplicates as well")
    parser.add_argument("--dir", help="where the rows are written (default: the system's)")
    return parser.parse_args(arguments)


def write_rows(folder: Path, rows: int, shape: str) -> int:
    """Write the rows as JSON Lines, with LLaMA-Factory's entry for them; gives the bytes."""
    random.seed(rows)
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9)))
             for _ in range(WORDS)]  # fmt: skip
    make = _SHAPES[shape]
    path = folder / "data.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            text = " ".join(random.choices(words, k=68))
            file.write(json.dumps(make(number, text)) + "\n")
    entry: dict[str, Any] = {"file_name": str(path)}
    if shape == "openai":
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
        tags |= {"assistant_tag": "assistant", "system_tag": "system"}
        entry |= {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"bench": entry}), encoding="ascii")
    return path.stat().st_size


def _alpaca(number: int, text: str) -> dict[str, Any]:
    return {"instruction": f"{number} {text[:120]}", "input": text[120:180] * (number % 2),
            "output": text[180:] + ".\n"}  # fmt: skip


def _openai(number: int, text: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"{number} {text[:180]}"}]
    return {"messages": [*turns, {"role": "assistant", "content": text[180:] + ".\n"}]}


_SHAPES: dict[str, Callable[[int, str], dict[str, Any]]] = {"alpaca": _alpaca, "openai": _openai}


def measure(code: str, folder: Path, argument: str) -> dict[str, float]:
    """Rows, seconds and peak memory of one process, on an idle disk."""
    os.sync()  # what the measurement before has written
    script = folder / "measure.py"
    script.write_text(code + REPORT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), argument],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
            return result
    raise SystemExit(f"a measurement failed:\n{done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def _print_speed(folder: Path, options: argparse.Namespace) -> None:
    size = write_rows(folder, options.rows, options.format)
    print(f"{options.rows:,} {options.format} rows, {size / 1e6:.0f} MB\n")
    theirs = None
    if not options.skip_llamafactory:
        theirs = measure(LLAMAFACTORY, folder, "1")
        _line("LLaMA-Factory, load and align, 1 process", theirs, theirs)
    _line("validate, the whole command, 1 process", measure(VALIDATE, folder, "0"), theirs)
    if options.near:
        _line("validate with near-duplicates", measure(VALIDATE, folder, "1"), theirs)
    ours = measure(OURS, folder, "1")
    _line("ours, read, check, convert, account, 1 process", ours, theirs)
    if not options.skip_llamafactory:
        many = measure(LLAMAFACTORY, folder, str(options.workers))
        _line(f"LLaMA-Factory, {options.workers} processes", many, theirs)
    _line(f"ours, {options.workers} processes", measure(OURS, folder, str(options.workers)), theirs)
    _line("ours, content checks on their own", measure(CONTENT, folder, "0"), theirs)
    if options.near:
        _line(
            "ours, near-duplicates on their own", measure(NEAR, folder, str(options.rows)), theirs
        )


def _print_memory(folder: Path, options: argparse.Namespace) -> None:
    base = 0.0
    for rows in sorted(options.memory):
        write_rows(folder, rows, options.format)
        found = measure(OURS, folder, "1")
        base = base or found["peak_kb"]
        grown = (found["peak_kb"] - base) * 1024 / rows
        _line(f"{rows:,} rows", found, None)
        print(f"{'':50}{found['peak_kb'] / 1024:8.0f} MB peak, {grown:.1f} bytes a row more")


def _line(name: str, found: dict[str, float], base: dict[str, float] | None) -> None:
    rate = found["rows"] / found["seconds"]
    ratio = ""
    if base and base is not found:
        times = base["seconds"] / found["seconds"]
        of_cpu = base["cpu"] / found["cpu"]
        ratio = f"  {times:5.1f} x  ({of_cpu:.1f} x by CPU time)"
    cpu = f"{found['cpu']:6.2f} s CPU"
    print(f"{name:50}{found['seconds']:7.2f} s {cpu} {rate:10,.0f} rows/s{ratio}", flush=True)


if __name__ == "__main__":
    main()
