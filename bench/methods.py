"""A training step of each method beside LoRA's: time, trained parameters, peak memory, in one run.

    .venv/bin/python bench/methods.py [--rounds 15] [--rows 2] [--tokens 256]

Every model is loaded by LLaMA-Factory's own `load_model`, with the adapter that a run would put on
it and gradient checkpointing as a run has it, and takes the same rows by turns. Time is that of the
processor (of the GPU where there is one), the median over the rounds. Memory is the peak of the
bytes of live tensors in one more step, model and optimizer included, as bench/memory.py counts.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "ERROR")

import torch
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model import load_model, load_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bench.memory import Live
from fine_tuning.demo import model_path
from fine_tuning.engine.trainers.peft import CONFIGURED
from fine_tuning.engine.worker.loading.mended import mended_loading
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments, installed
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS

SOFT = [name for name, method in METHODS.items() if method.soft_prompt]
MOST = 1.1  # times LoRA's step, for virtual tokens
OWN: Mapping[str, Mapping[str, Any]] = {"freeze": {"freeze_trainable_layers": 2}}


def main() -> int:
    """Print the table; the exit code says whether virtual tokens are fast enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    wanted = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        base = built(Path(folder) / "base")
        steps = {method: Stepping(base, method, device) for method in METHODS}
    ids = torch.randint(100, 4000, (wanted.rows, wanted.tokens), device=device)
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for turn in range(wanted.rounds + 2):
        for method, step in steps.items():
            seconds = step.timed(ids)
            if turn > 1:  # the first ones warm caches up
                times[method].append(seconds)
    medians = {method: statistics.median(found) for method, found in times.items()}
    print("| method | trained parameters | step, of LoRA's | peak memory, MiB |")
    print("| --- | --- | --- | --- |")
    for method, step in steps.items():
        ratio, peak = medians[method] / medians["lora"], step.peak(ids) / 1024**2
        print(f"| `{method}` | {step.trained:,} | {ratio:.2f} | {peak:,.0f} |")
    slow = [method for method in SOFT if medians[method] > MOST * medians["lora"]]
    if slow:
        print(f"slower than {MOST} x LoRA's step: {', '.join(slow)}")
    return 1 if slow else 0


def built(path: Path) -> Path:
    """A Llama of about 30 million parameters with the demo model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    config = LlamaConfig(
        vocab_size=max(4096, len(tokenizer)),
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


class Stepping:
    """A model of one method, and its optimizer."""

    def __init__(self, base: Path, method: str, device: torch.device) -> None:
        settings: dict[str, Any] = {"finetuning_type": method, "model_name_or_path": str(base)}
        if METHODS[method].trainer == "peft":
            settings["peft"] = CONFIGURED[method](RunSpec())
        of_model = ModelArguments(
            model_name_or_path=str(base),
            disable_gradient_checkpointing=method == "prefix_tuning",
        )
        of_model.compute_dtype = torch.float32
        kind = engine_arguments(settings)["finetuning_type"]
        tuning = FinetuningArguments(finetuning_type=kind, **OWN.get(method, {}))
        with installed(settings), mended_loading(torch.float32):
            tokenizer = load_tokenizer(of_model)["tokenizer"]
            self.model = load_model(tokenizer, of_model, tuning, is_trainable=True).to(device)
        self.parameters = [it for it in self.model.parameters() if it.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4)

    @property
    def trained(self) -> int:
        """The numbers that are trained."""
        return sum(it.numel() for it in self.parameters)

    def step(self, ids: torch.Tensor) -> None:
        """One update."""
        self.model(input_ids=ids, labels=ids).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def timed(self, ids: torch.Tensor) -> float:
        """Seconds of one update."""
        if ids.is_cuda:
            torch.cuda.synchronize()
        clock = time.perf_counter if ids.is_cuda else time.process_time
        began = clock()
        self.step(ids)
        if ids.is_cuda:
            torch.cuda.synchronize()
        return clock() - began

    def peak(self, ids: torch.Tensor) -> int:
        """Bytes of live tensors at the peak of one update."""
        live = Live()
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            live.add(tensor)
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    live.add(value)
        with live:
            self.step(ids)
        return int(live.peak)


if __name__ == "__main__":
    sys.exit(main())
