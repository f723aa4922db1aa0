"""Scoring base and tuned model, beside LLaMA-Factory's prediction by the tuned one alone.

    .venv/bin/python bench/score.py [--rows 100] [--repeats 3]

A run of the demo model is made first. Then, by turns, both score the same held-out rows with the
same limit of new tokens, each in a process of its own from its start to its end: `eval` measures
losses and greedy answers of base and tuned model, `do_predict` with `predict_with_generate` answers
once, with the adapter. Processor time is the sum over their cores, and hardly depends on what else
runs on the machine.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, str(ROOT / "llama_factory_fine_tuning.py")]
ENGINE = [str(Path(sys.executable).with_name("llamafactory-cli")), "train"]
TOKENS = "64"  # the longest expected answer of the sample has fewer
# What decides which model is loaded and how rows are rendered.
KEPT = ("model_name_or_path", "template", "stage", "dataset_dir", "cutoff_len", "eval_dataset")


@dataclass(frozen=True)
class Taken:
    """Seconds of a command, by the clock and of processors."""

    wall: float
    cpu: float


def taken(command: list[str], folder: Path) -> Taken:
    """What a command that must succeed takes, with all processes that it starts."""
    began, spent = time.perf_counter(), _spent()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Taken(time.perf_counter() - began, _spent() - spent)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        trained = ["--val_size", str(given.rows), "--score_samples", "0", "--epochs", "1"]
        taken([*PROGRAM, "--dataset_format", "alpaca", *trained, "--output_dir", str(run)], folder)
        settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
        predict = {name: settings[name] for name in KEPT} | {
            "adapter_name_or_path": str(run),
            "finetuning_type": "lora",
            "do_predict": True,
            "predict_with_generate": True,
            "do_sample": False,
            "max_new_tokens": int(TOKENS),
            "per_device_eval_batch_size": 8,
            "use_cpu": True,
            "report_to": "none",
        }
        evals, predictions = [], []
        for turn in range(given.repeats):
            asked = ["eval", "--output_dir", str(run), "--max_new_tokens", TOKENS]
            report = ["--forgetting", "false", "--score_samples", str(given.rows)]
            evals.append(taken([*PROGRAM, *asked, *report], folder))
            file = folder / f"predict-{turn}.yaml"
            file.write_text(yaml.safe_dump(predict | {"output_dir": str(folder / f"out-{turn}")}))
            predictions.append(taken([*ENGINE, str(file)], folder))
    for name in ("wall", "cpu"):
        ours, theirs = (
            statistics.median(getattr(it, name) for it in side) for side in (evals, predictions)
        )
        print(f"{name}: eval, base and tuned, with losses  {ours:6.1f} s")
        print(f"{name}: do_predict, tuned alone            {theirs:6.1f} s  ({ours / theirs:.2f})")


if __name__ == "__main__":
    main()
