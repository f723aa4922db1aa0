"""LLaMA-Factory's saving of a model, mended where it would fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llamafactory.train.rm.trainer import PairwiseTrainer


@contextmanager
def tied_heads_saved() -> Iterator[None]:
    """A reward model whose head is its embedding is saved: one of the two names is enough.

    LLaMA-Factory looks for the same object twice (train/rm/trainer.py:_save), but a state dict has
    another one for each name.
    """
    known = PairwiseTrainer._save

    def save(trainer: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        state = dict(trainer.model.state_dict() if state_dict is None else state_dict)
        seen: set[tuple[int, Any]] = set()
        for name, tensor in sorted(state.items(), key=lambda it: "lm_head." in it[0]):
            place = (tensor.data_ptr(), tensor.shape)
            if tensor.numel() and place in seen:
                del state[name]
            seen.add(place)
        known(trainer, output_dir, state)

    PairwiseTrainer._save = save
    try:
        yield
    finally:
        PairwiseTrainer._save = known
