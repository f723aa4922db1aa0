"""What makes a training on GPUs faster without changing the rows that are trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.values.plan import Decision, Rows
from fine_tuning.values.tokens import TokenLook

WORTH_GROUPING = 0.2  # of all tokens
MOST_GROUPED = 500_000  # rows; Transformers reads each one's length before the training
ROWS_PER_WORKER, MOST_WORKERS = 5_000, 8


def on_gpu(
    step: Step, rows: Rows, look: TokenLook, devices: Mapping[str, Any]
) -> Iterator[Decision]:
    """The settings for this step. What the user says stays.

    Text and packed rows are cut into blocks by how they are read, so that stays too.
    """
    given = step.given
    if not step.checkpointing and "disable_gradient_checkpointing" not in given:
        why = "all activations fit, so no layer is computed twice"
        yield Decision("disable_gradient_checkpointing", True, why)
    if rows.packed or given.get("neat_packing") or given.get("packing") or given.get("streaming"):
        return
    saved = padding_saved(look.histogram, step.batch)
    may_group = rows.stage == "sft" and "train_sampling_strategy" not in given
    if may_group and saved >= WORTH_GROUPING and rows.train <= MOST_GROUPED:
        why = f"rows of like length share a batch: {saved:.0%} less padding"
        yield Decision("train_sampling_strategy", "group_by_length", why)
    workers = min(MOST_WORKERS, int(devices.get("cpus") or 1), rows.train // ROWS_PER_WORKER)
    if workers > 1 and not look.media and "preprocessing_num_workers" not in given:
        yield Decision("preprocessing_num_workers", workers, "processes that encode the rows")


def padding_saved(histogram: Sequence[tuple[int, int]], batch: int) -> float:
    """Share of a batch's tokens that is padding if rows are drawn at random.

    By the lengths' histogram: the longest of n rows is at most x with the n-th power of the share
    of rows that are.
    """
    rows = sum(count for _, count in histogram)
    if not rows or batch == 1:
        return 0.0
    so_far, mean, longest = 0, 0.0, 0.0
    for length, count in histogram:
        mean += length * count / rows
        below = (so_far / rows) ** batch
        so_far += count
        longest += length * ((so_far / rows) ** batch - below)
    return 1 - mean / longest
