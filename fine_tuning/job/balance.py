"""What the engine must have encoded: the end of the account that begins with the user's files."""

from pathlib import Path
from typing import Any

import numpy as np

from fine_tuning.dataset.split import NUMBERS
from fine_tuning.dataset.types import SplitData
from fine_tuning.engine.plan.values import Plan
from fine_tuning.errors import DataError
from fine_tuning.job.opening import Job

ENGINE_BATCH = 1000  # llamafactory/hparams/data_args.py: preprocessing_batch_size


def expected(job: Job, parts: SplitData, plan: Plan) -> dict[str, Any] | None:
    """What the engine must encode of the training rows (engine/worker/balance.py).

    None if that is not known: rows that are streamed, or cut into blocks by several processes.
    Raises DataError if nothing would be left to train on.
    """
    settings = plan.settings
    most = int(settings.get("max_samples") or parts.train_rows)
    if settings.get("streaming"):
        return None
    if settings["stage"] != "pt" or settings.get("packing") is False:
        return {"count": min(parts.train_rows, most), "unit": "rows"}
    if settings.get("preprocessing_num_workers"):
        return None
    lengths = training_lengths(job.folder.dataset / "lengths.u32", parts)[:most]
    batch = int(settings.get("preprocessing_batch_size", ENGINE_BATCH))
    cutoff = int(settings["cutoff_len"])
    blocks = blocks_of(lengths, cutoff, batch)
    if not blocks:
        raise DataError(
            f"The training rows do not fill one block of {cutoff:,} tokens.",
            why="text is packed into blocks, and the last one, if it is not full, is dropped",
            fix="give more text, or a smaller --max_seq_length",
        )
    return {"count": blocks, "unit": "blocks"}


def training_lengths(path: Path, parts: SplitData) -> Any:
    """Tokens of each training row, of the lengths of all checked rows."""
    numbers = np.fromfile(parts.train_path.with_suffix(NUMBERS), "<u4")
    return np.fromfile(path, "<u4")[numbers]


def blocks_of(lengths: Any, cutoff: int, batch: int) -> int:
    """Full blocks that the engine cuts texts of these lengths into.

    It joins a batch of rows, and drops what is left over at the end of each batch
    (llamafactory/data/processor/pretrain.py).
    """
    starts = np.arange(0, len(lengths), batch)
    return int((np.add.reduceat(lengths.astype(np.int64), starts) // cutoff).sum())
