"""Real runs on a GPU: the peak of their memory beside the estimate, and how fast what is chosen is.

    .venv/bin/python bench/on_gpu.py ways
    .venv/bin/python bench/on_gpu.py memory --model M --data D --pairs P
    .venv/bin/python bench/on_gpu.py speed --model M --data D

M is a base model in bfloat16 (bench/shaped.py makes one), D chat rows, P preference pairs. Each
line of the table is a run of a few steps. `ways` trains every method and stage on the bundled rows,
scores, and merges where it can; the others do neither. Flags that are not its own go to each run.
The exit code is 1 if a run failed or the peak of `memory` is more than 10% from its estimate.
Without a GPU there is no peak; the runs are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parents[1]
GIB = 1024**3
OFF = 0.1  # of the estimate


@dataclass(frozen=True)
class Case:
    """What a run is given beside model and rows, and what its processes find in the environment."""

    words: Sequence[str] = ()
    pairs: bool = False
    sample: str = ""  # of the bundled rows
    merged: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


SAMPLES = {"chat": "alpaca.json", "text": "text.txt", "preference": "preference.json"}
ONLINE = ("--reward", "exact_match=1", "length:40=0.2", "--max_completion_length", "16")


def _ways() -> Iterator[tuple[str, Case]]:
    for name, method in METHODS.items():
        words = ("--method", name, *(("--freeze_trainable_layers", "1") * (name == "freeze")))
        yield name, Case(words, sample="alpaca.json", merged=method.mergeable)
    for stage, objective in OBJECTIVES.items():
        words = ("--stage", stage, *(ONLINE * bool(objective.online)))
        yield stage, Case(words, sample=SAMPLES.get(objective.takes, "kto.jsonl"))
    for flag in (
        *("quantization 4bit", "quantization 8bit", "use_dora true", "use_rslora true"),
        *(
            "fp16 true",
            "bf16 false",
            "pure_bf16 true",
            "neat_packing true",
        ),
        *("optim paged_adamw_8bit", "deepspeed configs/deepspeed_zero2.json"),
    ):
        yield flag, Case(f"--{flag}".split(), sample="alpaca.json", merged=True)


TABLES: Mapping[str, Mapping[str, Case]] = {
    "ways": dict(_ways()),
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
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--keep", type=Path, help="folder that the runs stay in")
    wanted, more = parser.parse_known_args()
    print("| case | rows x tokens | estimate | peak | off by | tokens/s | merge |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)

    def line(name: str, case: Case) -> bool:
        rows = wanted.pairs if case.pairs else wanted.data
        sample = str(ROOT / "data" / case.sample) if case.sample else rows
        words = ["--model_name_or_path", wanted.model, "--dataset_path", sample, *case.words]
        found = trained(folder / name.replace("/", "-"), case, [*words, *more], wanted.steps)
        print(f"| {name} | {'failed' if found is None else told(found)} |", flush=True)
        must_fit = wanted.table == "memory"
        return found is not None and not (must_fit and abs(off(found) or 0) > OFF)

    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(wanted.jobs) as lanes:
        folder = wanted.keep or Path(temporary)
        chosen = [it for it in TABLES[wanted.table].items() if it[0] in (wanted.only or [it[0]])]
        return 0 if all(list(lanes.map(lambda it: line(*it), chosen))) else 1


def trained(place: Path, case: Case, words: Sequence[str], steps: int) -> dict[str, Any] | None:
    """The stages of a run, as its record has them; None if it failed, which is shown."""
    if case.merged:
        words = [*words, "--export_dir", f"{place}-merged"]
    if not case.sample:
        words = [*words, "--score_samples", "0", "--val_size", "0"]
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "llama_factory_fine_tuning.py"), *words),
            *("--output_dir", str(place), "--dataset_dir", str(place.parent / "data")),
            *("--max_steps", str(steps)),
        ],
        env={**os.environ, **case.environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"{place.name} failed:\n{done.stdout}", file=sys.stderr, flush=True)
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
        _proof(stages.get("merge") or {}),
    )
    return " | ".join(cells)


def _proof(merge: Mapping[str, Any]) -> str:
    proof = merge.get("proof") or {}
    if not proof:
        return "-"
    said = f"{proof['agreement']:.0%} agree, {proof['kept']:.0%} kept"
    return said if proof["proved"] else f"not proved: {proof['reason']}"


if __name__ == "__main__":
    sys.exit(main())
