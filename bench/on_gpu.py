"""Real runs on a GPU: the peak of their memory beside the estimate, and how fast what is chosen is.

    .venv/bin/python bench/on_gpu.py memory --model M --data D --pairs P
    .venv/bin/python bench/on_gpu.py speed --model M --data D

M is a base model in bfloat16, D chat rows, P preference pairs. Each line of the table is a run of a
few steps that is not scored. The exit code is 1 if a run failed or a peak is more than 10% from its
estimate. Without a GPU there is no peak; the runs are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GIB = 1024**3
OFF = 0.1  # of the estimate


@dataclass(frozen=True)
class Case:
    """What a run is given beside model and rows, and what its processes find in the environment."""

    words: Sequence[str] = ()
    pairs: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


TABLES: Mapping[str, Mapping[str, Case]] = {
    "memory": {
        "lora": Case(),
        "lora, rank 128": Case(("--lora_rank", "128")),
        "lora in 4 bits": Case(("--quantization", "4bit")),
        "lora in 8 bits": Case(("--quantization", "8bit")),
        "activations kept": Case(("--disable_gradient_checkpointing", "true")),
        "activations made twice": Case(("--disable_gradient_checkpointing", "false")),
        "freeze": Case(("--method", "freeze")),
        "dpo": Case(("--stage", "dpo"), pairs=True),
    },
    "speed": {
        "as chosen": Case(),
        "activations made twice": Case(("--disable_gradient_checkpointing", "false")),
        "rows at random": Case(("--train_sampling_strategy", "random")),
        "fixed segments": Case(environment={"PYTORCH_ALLOC_CONF": "expandable_segments:False"}),
        "one row at a time": Case(("--batch_size", "1")),
    },
}


def main() -> int:
    """Print the table; the exit code says whether it is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--model", default=str(ROOT / "demo_model"))
    parser.add_argument("--data", default=str(ROOT / "data" / "alpaca.json"))
    parser.add_argument("--pairs", default=str(ROOT / "data" / "preference.json"))
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--steps", type=int, default=8)
    wanted = parser.parse_args()
    print("| case | rows x tokens | estimate | peak | off by | tokens/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        for name, case in TABLES[wanted.table].items():
            if wanted.only and name not in wanted.only:
                continue
            rows = wanted.pairs if case.pairs else wanted.data
            words = ["--model_name_or_path", wanted.model, "--dataset_path", rows, *case.words]
            found = trained(Path(folder) / name, words, case.environment, wanted.steps)
            fine = fine and found is not None and abs(off(found) or 0) <= OFF
            print(f"| {name} | {'failed' if found is None else told(found)} |", flush=True)
    return 0 if fine else 1


def trained(
    place: Path, words: Sequence[str], environment: Mapping[str, str], steps: int
) -> dict[str, Any] | None:
    """The stages of a run, as its record has them; None if it failed, which is shown."""
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "llama_factory_fine_tuning.py"), *words),
            *("--output_dir", str(place), "--dataset_dir", str(place.parent / "data")),
            *("--max_steps", str(steps), "--score_samples", "0", "--val_size", "0"),
        ],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        return None
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    return {name: it["result"] for name, it in record["stages"].items() if it}


def off(stages: Mapping[str, Any]) -> float | None:
    """How far the peak is from the estimate, as a share of this; None where one is not known."""
    peak, estimate = stages["train"].get("peak_memory"), estimated(stages)
    return peak / estimate - 1 if peak and estimate else None


def estimated(stages: Mapping[str, Any]) -> float:
    """Bytes of live tensors, by the plan: torch counts no CUDA context and no scratch space."""
    memory = stages["plan"]["chosen"]["memory"] or {}
    return float(sum(memory.get(part, 0) for part in ("weights", "training_state", "activations")))


def told(stages: Mapping[str, Any]) -> str:
    """The cells of a line."""
    chosen, train = stages["plan"]["chosen"], stages["train"]
    peak, far = train.get("peak_memory"), off(stages)
    speed = train["metrics"].get("train_tokens_per_second")
    cells = (
        f"{chosen['batch']} x {chosen['cutoff']}",
        f"{estimated(stages) / GIB:.2f} GiB",
        f"{peak / GIB:.2f} GiB" if peak else "-",
        f"{far:+.1%}" if far is not None else "-",
        f"{speed:,.0f}" if speed else "-",
    )
    return " | ".join(cells)


if __name__ == "__main__":
    sys.exit(main())
