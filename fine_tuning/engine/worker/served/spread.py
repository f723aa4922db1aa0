"""Rows encoded by several processes, each of them batch by batch."""

import gc
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fine_tuning.engine.worker.served.encoder import Encoder

Row = Mapping[str, Any]
Made = TypeVar("Made")
Work = Callable[[list[Row]], Made]
ROWS_EACH, MOST = 5_000, 8  # rows for which a process is worth its start; processes unless asked
LEARNT = 512  # rows, whose words all processes begin with


def processes_for(*files: Path) -> int:
    """How many processes are worth it for the rows (lines) of some files on this machine."""
    if sys.platform != "linux":  # elsewhere a process is not a fork, or not a safe one
        return 1
    rows = 0
    for path in files:
        with path.open("rb") as file:
            rows += sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    return max(1, min(MOST, len(os.sched_getaffinity(0)), rows // ROWS_EACH))


def spread(
    encoder: Encoder, work: "Work[Made]", batches: Iterable[list[Row]], processes: int
) -> Iterator[Made]:
    """What `work` makes of each batch with this encoder, in their order."""
    batches = iter(batches)
    first = list(islice(batches, 2))
    batches = chain(first, batches)
    if len(first) < 2 or processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(work, batches)
        return
    for _ in encoder.encode(first[0][:LEARNT], {}):
        pass
    context = multiprocessing.get_context("fork")  # which has the encoder: it is not sent
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(work,)
    ) as pool:
        waiting: deque[Future[Made]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_here, msgspec.json.encode(batch)))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        for coming in waiting:
            yield coming.result()


def batches_of(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The rows by lists of some size."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


OF_THIS_PROCESS: list[Work[Any]] = []  # of a process that encodes for another


def _begin(work: "Work[Any]") -> None:
    """Threads of the tokenizer do not exist in a fork, but would be waited for."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.freeze()  # what came with the fork is shared, until it is looked at
    OF_THIS_PROCESS[:] = [work]


def _here(rows: bytes) -> Any:
    """Of rows as JSON, which is read in an eighth of the time that pickled ones take."""
    (work,) = OF_THIS_PROCESS
    return work(msgspec.json.decode(rows))
