"""Sampling within an online training beside a plain `generate` of the same prompts: tokens/s.

    .venv/bin/python bench/online.py [--model DIR] [--prompts 4] [--group 8] [--new 64]

Both answer the same prompts on the same loaded model with its fresh adapter, one after the other in
turn: the training by its own trainer (padded together, key-value cache, gradient checkpointing off
for the time being), `generate` in evaluation mode without anything around it. Answers have all
`--new` tokens, so that both do the same work. Without a GPU the seconds are those of all cores
together. The exit code is 1 below a ratio of 0.9.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as our worker has it (bench/contention.py)

import torch

from fine_tuning.engine.worker.online import run as online_run
from fine_tuning.engine.worker.scoring.greedy import padded_left
from tests.trainings import planned, train_here

ROOT = Path(__file__).resolve().parents[1]


GOAL = 0.9


class Measured(Exception):
    """Ends the training: the figures are there."""


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes; without a GPU the processor time, which other programs do not change."""
    if not torch.cuda.is_available():
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(trainer: Any, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds of each way, in turn; the first of each is thrown away."""
    asked = trainer.questions[: args.prompts]
    rows = [list(it.prompt_ids) for it in asked for _ in range(args.group)]
    how = trainer.generation_config
    how.min_new_tokens = how.max_new_tokens = args.new
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    ids, mask = padded_left(rows, trainer.pad_token_id)
    ids, mask = ids.to(model.device), mask.to(model.device)

    def plain() -> None:
        model.eval()
        model.gradient_checkpointing_disable()
        with torch.no_grad():
            model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
        model.gradient_checkpointing_enable()
        model.train()

    pairs = [(seconds(lambda: trainer.sampled(rows)), seconds(plain)) for _ in range(args.repeat)]
    ours, theirs = zip(*pairs[1:], strict=True)
    return list(ours), list(theirs)


def main() -> int:
    """Print tokens/s of both, and their ratio; the exit code says whether that is enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "demo_model")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    figures: list[tuple[list[float], list[float]]] = []

    def instead(trainer: Any, prompts: Any, images: Any) -> Any:
        figures.append(measure(trainer, args))
        raise Measured

    online_run._OwnPrompts._generate_single_turn = instead  # type: ignore[assignment,method-assign]
    with tempfile.TemporaryDirectory() as folder:
        plan = planned(
            Path(folder),
            args.model,
            stage="grpo",
            batch_size=args.group,
            reward=("json_valid",),
            engine_args={
                "num_generations": args.group,
                "max_completion_length": args.new,
                "gradient_accumulation_steps": args.prompts,
            },
        )
        with suppress(Measured):
            train_here(Path(folder), plan, scored=False)
    ours, theirs = figures[0]
    tokens = args.prompts * args.group * args.new
    speeds = [tokens / statistics.median(it) for it in (ours, theirs)]
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"{args.prompts} prompts x {args.group} answers x {args.new} tokens, {args.model.name}")
    print(f"in the training   {speeds[0]:10,.0f} tokens/s")
    print(f"plain generate    {speeds[1]:10,.0f} tokens/s")
    print(f"ratio             {ratio:10.2f}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
