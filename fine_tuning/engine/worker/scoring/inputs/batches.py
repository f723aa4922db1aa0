"""Batches by tokens, which halve when the device runs out of memory."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size

from fine_tuning.units import counted

Row = TypeVar("Row")
Result = TypeVar("Result")
Said = Callable[[str], None]


class OutOfMemory(Exception):
    """The device has no room even for one row."""


def in_batches(
    rows: Sequence[Row],
    tokens: Callable[[Row], int],
    compute: Callable[[Sequence[Row]], Result],
    *,
    most_tokens: int,
    most_rows: int,
    said: Said,
) -> Iterator[tuple[Sequence[Row], Result]]:
    """Rows of like length together with what `compute` makes of them, the shortest first.

    A batch has at most `most_tokens` with its padding, but one row at least. If memory runs out,
    that batch and those after it have half as many, which is said. Raises OutOfMemory if it runs
    out with one row.
    """
    waiting = sorted(rows, key=tokens)
    while waiting:
        # The longest beginning that is small enough; the last of its rows is the longest.
        size = 1
        while (
            size < min(most_rows, len(waiting))
            and (size + 1) * tokens(waiting[size]) <= most_tokens
        ):
            size += 1
        batch = waiting[:size]
        result = _unless_out_of_memory(compute, batch)
        if result is not None:
            yield batch, result[0]
            waiting = waiting[len(batch) :]
            continue
        free_device_memory()
        if len(batch) == 1:
            raise OutOfMemory(f"a row of {tokens(batch[0]):,} tokens does not fit")
        most_tokens = len(batch) // 2 * tokens(batch[-1])
        half = counted(len(batch) // 2, "row")
        said(f"memory ran out with {len(batch)} rows at once; scoring goes on with {half}")


def _unless_out_of_memory(
    compute: Callable[[Sequence[Row]], Result], batch: Sequence[Row]
) -> tuple[Result] | None:
    """None if memory ran out; what was computed until then is let go with the error."""
    try:
        return (compute(batch),)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error):
            return None
        raise


def free_device_memory() -> None:
    """Give back what is no longer used on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
