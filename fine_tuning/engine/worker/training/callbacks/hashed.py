"""What a training saves is noted with its hashes while it lies in memory still."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback

from fine_tuning.disk import checkpoints, hashes


class Hashed(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Notes the hashes of each checkpoint beside the training, in a thread; those of its weights
    also in the run, where they stay when the checkpoint goes (`checkpoints.WEIGHTS`).

    Callbacks of LLaMA-Factory still change what was saved (train/callbacks.py:on_save), and those
    of its trainers come after ours: so the thread starts at the event that follows.
    """

    def __init__(self) -> None:
        self._saved: Path | None = None
        self._thread = ThreadPoolExecutor(1)
        self._noting: Future[None] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if state.global_step == 0 and args.process_index == 0:
            (Path(args.output_dir) / checkpoints.WEIGHTS).unlink(missing_ok=True)

    def on_save(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._start(args)
        self._saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"

    def on_step_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._start(args)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._start(args)
        self._wait()

    def _start(self, args: Any) -> None:
        folder, self._saved = self._saved, None
        if folder is None:
            return
        if dist.is_available() and dist.is_initialized():
            dist.barrier()  # every process has saved its part
        if args.process_index == 0:
            self._wait()
            self._noting = self._thread.submit(_note, folder)

    def _wait(self) -> None:
        if self._noting is not None:
            self._noting.result()


def _note(folder: Path) -> None:
    """A checkpoint that is removed meanwhile, or a full disk, must not end the training."""
    with suppress(OSError):
        hashes.write(folder)
        checkpoints.note_weights(folder)


def note_model(folder: Path) -> None:
    """Note the hashes of the adapter, or the whole model, that a training has left."""
    if os.environ.get("RANK", "0") == "0":
        hashes.write(folder, hashes.OF_A_MODEL)
