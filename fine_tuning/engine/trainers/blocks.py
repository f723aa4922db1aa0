"""What LLaMA-Factory must have encoded: the end of the account of the user's rows."""

from pathlib import Path
from typing import Any

import numpy as np

from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.errors import DataError
from fine_tuning.values.data import SplitData
from fine_tuning.values.plan import Places

# llamafactory/hparams/data_args.py
ENGINE_BATCH = 1000  # preprocessing_batch_size
ENGINE_BUFFER = 16384  # buffer_size


def expected(made: TrainSettings, parts: SplitData, places: Places) -> dict[str, Any]:
    """What the engine must encode of the training rows (engine/worker/training/balance.py).

    Raises DataError if nothing would be left to train on.
    """
    settings = made.by_hand
    streaming = bool(settings.get("streaming"))
    workers = int(settings["dataloader_num_workers"]) if streaming else 0
    most = int(settings.get("max_samples") or parts.train_rows)
    if settings["stage"] != "pt" or settings.get("packing") is False:
        return {"count": min(parts.train_rows, most), "unit": "rows", "workers": workers}
    lengths = training_lengths(places.dataset_dir / "lengths.u32", parts)[:most]
    batch = int(settings.get("preprocessing_batch_size", ENGINE_BATCH))
    cutoff = int(settings["cutoff_len"])
    processes = int(settings.get("preprocessing_num_workers") or 1)
    blocks = blocks_of(lengths, cutoff, batch, 1 if streaming else processes)
    if not blocks:
        raise DataError(
            f"The training rows do not fill one block of {cutoff:,} tokens.",
            why="text is packed into blocks, and the last one, if it is not full, is dropped",
            fix="give more text, or a smaller --max_seq_length",
        )
    if not streaming:
        return {"count": blocks, "unit": "blocks"}
    path = parts.train_path.with_suffix(".lengths")
    lengths.astype("<u4").tofile(path)
    stream = {
        "lengths_path": str(path),
        "cutoff": cutoff,
        "batch": batch,
        "buffer": int(settings.get("buffer_size", ENGINE_BUFFER)),
        "seed": int(settings["seed"]),
        "workers": workers,
    }
    return {"count": None, "unit": "blocks", "workers": workers, "stream": stream}


def training_lengths(path: Path, parts: SplitData) -> Any:
    """Tokens of each training row, of the lengths of all checked rows."""
    numbers = np.fromfile(parts.numbers_path, "<u4")
    return np.fromfile(path, "<u4")[numbers]


def blocks_of(lengths: Any, cutoff: int, batch: int, processes: int = 1) -> int:
    """Full blocks that the engine cuts texts of these lengths into.

    Each process takes an equal share of the rows, one after the other. It joins a batch of them,
    and drops what is left over at the end of each batch (llamafactory/data/processor/pretrain.py).
    """
    blocks = 0
    for share in np.array_split(lengths.astype(np.int64), min(processes, len(lengths))):
        starts = np.arange(0, len(share), batch)
        blocks += int((np.add.reduceat(share, starts) // cutoff).sum())
    return blocks
