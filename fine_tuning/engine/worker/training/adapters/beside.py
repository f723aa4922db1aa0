"""What a training of PEFT's methods has beside its adapter, in each checkpoint and on the way."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from fine_tuning.engine.worker.scoring.greedy import is_soft_prompt
from fine_tuning.engine.worker.training.adapters.peft import ENCODER

RANKS = "rank_budget.safetensors"
MASK = "mask:"  # before the names of the ranks that are left
AVERAGES = ("exp_avg_ipt", "exp_avg_unc")
# Shares of all steps: AdaLoRA first trains all ranks, and in the end those that are left (Zhang et
# al., arXiv:2303.10512, give it 10% and 30% or so).
FIRST, LAST, UPDATES = 0.1, 0.3, 100


def best_of(args: Any, state: Any) -> Path | None:
    """The checkpoint that the training has ended with, if that is the best and not the last."""
    best = state.best_model_checkpoint if args.load_best_model_at_end else None
    return Path(best) if best else None


class SavedEncoder(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """The encoder of a soft prompt lies in each checkpoint and beside the adapter, and comes back.

    PEFT saves the prompt that it computes and nothing of what computes it
    (utils/save_and_load.py): a continued training would begin with another encoder.
    """

    def __init__(self, resume_from: str | None) -> None:
        self.resume_from = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.resume_from:
            self._load(known["model"], Path(self.resume_from))

    def on_save(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._save(known["model"], folder, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if best := best_of(args, state):  # PEFT has put its prompt in the place of the encoder's
            self._load(known["model"], best)
        self._save(known["model"], Path(args.output_dir), state)

    def _load(self, model: Any, folder: Path) -> None:
        if is_soft_prompt(model):
            encoder = model.prompt_encoder[model.active_adapter]
            encoder.load_state_dict(load_file(folder / ENCODER))

    def _save(self, model: Any, folder: Path, state: Any) -> None:
        if state.is_world_process_zero and is_soft_prompt(model):
            encoder = model.prompt_encoder[model.active_adapter].state_dict()
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: it.contiguous() for name, it in encoder.items()}, folder / ENCODER)


class RankBudget(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """AdaLoRA's schedule: ranks that matter least are switched off, step by step.

    PEFT leaves calling it to the training loop, without which all ranks stay. Until the end a
    checkpoint has all of them, or the optimizer's state would not fit them; the adapter that is
    left has those that were kept.
    """

    def __init__(self, resume_from: str | None) -> None:
        self.resume_from = resume_from
        self.kept: dict[str, list[bool]] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        allocator = _allocator(known["model"])
        if allocator is None:
            return
        config, steps = allocator.peft_config, state.max_steps
        config.total_step, config.tinit = steps, int(FIRST * steps)
        config.tfinal, config.deltaT = int(LAST * steps), max(1, steps // UPDATES)
        if self.resume_from:
            self._load(allocator, Path(self.resume_from), args.device)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        allocator = _allocator(known["model"])
        if allocator is None:
            return
        allocator.peft_config.rank_pattern = self.kept
        known["model"].base_model.update_and_allocate(state.global_step + 1)
        self.kept, allocator.peft_config.rank_pattern = allocator.peft_config.rank_pattern, None

    def on_save(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        allocator = _allocator(known["model"])
        if allocator is None or not state.is_world_process_zero:
            return
        kept = {f"{MASK}{n}": torch.tensor(mask) for n, mask in (self.kept or {}).items()}
        averages = {
            f"{which}:{name}": it.contiguous()
            for which in AVERAGES
            for name, it in getattr(allocator, which).items()
        }
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_file({**kept, **averages}, folder / RANKS)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        allocator = _allocator(known["model"])
        if allocator is not None:
            if best := best_of(args, state):
                self._load(allocator, best, args.device)
            allocator.peft_config.rank_pattern = self.kept

    def _load(self, allocator: Any, folder: Path, device: Any) -> None:
        found = load_file(folder / RANKS)
        masks = {n.removeprefix(MASK): it for n, it in found.items() if n.startswith(MASK)}
        self.kept = {name: it.tolist() for name, it in masks.items()} or None
        for which in AVERAGES:
            named = {
                name.removeprefix(f"{which}:"): it.to(device)
                for name, it in found.items()
                if name.startswith(f"{which}:")
            }
            getattr(allocator, which).update(named)
        allocator.ipt.update({name: torch.zeros_like(it) for name, it in named.items()})


def _allocator(model: Any) -> Any:
    """What gives AdaLoRA's ranks out; None for another method."""
    return getattr(getattr(model, "base_model", None), "rankallocator", None)
