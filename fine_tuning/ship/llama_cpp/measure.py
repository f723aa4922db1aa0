"""Measure GGUF files of one model on the same rows, in a process of its own.

    python -m fine_tuning.ship.llama_cpp.measure JOB

Of each file: the loss of every row's answer, what it answers by itself, and how far its
distributions are from those of the first file. Then, by turns, how fast each is. It says how far it
is in lines of JSON, and writes what it found to a file.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fine_tuning.ship.llama_cpp.library import Logits, Model, Unusable, library, opened, stored_as
from fine_tuning.values.codec import from_json

# Of the unquantised distribution its likeliest tokens are kept, and the others as one: what that
# leaves out of the divergence is below the probability of these others, and makes it smaller.
KEPT = 4096
PROMPT, ANSWER = 256, 32  # tokens of which the speed is measured
NOT_USABLE = 3  # exit code; the reason is the last line on standard error
KEPT_TOKEN = np.dtype([("id", np.int32), ("value", np.float32)])
Pair = tuple[tuple[int, ...], tuple[int, ...]]  # ids of a prompt, and of the expected answer
Kept = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """`files`: the unquantised one first. `asks`: whether answers are generated; `most_new` tokens
    at most, up to one of `stop_ids`. `kept` takes the first file's distributions meanwhile."""

    files: tuple[Path, ...]
    pairs: tuple[Pair, ...]
    stop_ids: tuple[int, ...]
    asks: bool
    most_new: int
    threads: int
    rounds: int
    kept: Path
    out: Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row with one file: loss and divergence are summed over the tokens of its answer, `same`
    counts places with the first file's likeliest token."""

    loss: float
    tokens: int
    divergence: float = 0.0
    same: int = 0
    expected: str = ""
    answer: str = ""
    stopped: bool = False


@dataclass(kw_only=True)
class Measured:
    """One file; its speeds in tokens a second, of each round."""

    stored: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    prompt_speeds: list[float] = field(default_factory=list)
    answer_speeds: list[float] = field(default_factory=list)


def measure(job: Job, told: Callable[[str, int, int], None]) -> list[Measured]:
    """What is found of each file. Raises Unusable for what llama.cpp does not load."""
    llama = library()
    llama.llama_backend_init()
    longest = max(len(prompt) + max(len(answer), job.most_new) for prompt, answer in job.pairs)
    context = max(longest, PROMPT + ANSWER) + 8
    found = []
    for number, file in enumerate(job.files):
        one = Measured(stored=stored_as(llama, file))
        with (
            opened(llama, file, context=context, threads=job.threads) as model,
            job.kept.open("rb" if number else "wb") as kept,
        ):
            for done, pair in enumerate(job.pairs):
                told(file.name, number * len(job.pairs) + done, len(job.files) * len(job.pairs))
                one.rows.append(row_of(model, pair, job, kept, is_first=not number))
        found.append(one)
    ids = [token for prompt, answer in job.pairs for token in (*prompt, *answer)]
    ids = (ids * (PROMPT // len(ids) + 1))[:PROMPT]
    for turn in range(job.rounds):
        for number, (one, file) in enumerate(zip(found, job.files, strict=True)):
            told("speed", turn * len(found) + number, job.rounds * len(found))
            with opened(llama, file, context=context, threads=job.threads) as model:
                prompt_s, answer_s = seconds_of(model, ids)
            one.prompt_speeds.append(PROMPT / prompt_s)
            one.answer_speeds.append(ANSWER / answer_s)
    return found


def row_of(model: Model, pair: Pair, job: Job, kept: BinaryIO, *, is_first: bool) -> Row:
    """One row: the expected answer is read, then the model answers by itself."""
    prompt, expected = pair
    model.forget()
    loss = divergence = 0.0
    same = 0
    ids = (*prompt, *expected[:-1])
    for token, logits in zip(expected, model.read(ids, len(expected)), strict=True):
        likely = log_softmax(logits)
        loss -= float(likely[token])
        if is_first:
            keep(likely, kept)
            same += 1
        else:
            first = kept_of(kept, model.tokens)
            divergence += diverged(first, likely)
            same += int(first["id"][0] == int(likely.argmax()))
    answer, stopped = answered(model, prompt, job) if job.asks else ((), False)
    return Row(
        loss=loss,
        tokens=len(expected),
        divergence=max(0.0, divergence),
        same=same,
        expected=model.text(expected).strip() if job.asks else "",
        answer=model.text(answer).strip(),
        stopped=stopped,
    )


def answered(model: Model, prompt: Sequence[int], job: Job) -> tuple[list[int], bool]:
    """The greedy answer, and whether it came to an end by itself. What was read of the prompt is
    not read again."""
    model.forget(len(prompt) - 1)
    found: list[int] = []
    unread: Sequence[int] = prompt[model.length :]
    while len(found) < job.most_new:
        (logits,) = model.read(unread, 1)
        token = int(logits.argmax())
        if token in job.stop_ids or model.is_end(token):
            return found, True
        found.append(token)
        unread = [token]
    return found, False


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide


def keep(likely: NDArray[np.float64], kept: BinaryIO) -> None:
    """Write the likeliest tokens of a distribution, the likeliest first."""
    count = min(KEPT, len(likely))
    order = np.argpartition(-likely, count - 1)[:count] if count < len(likely) else None
    chosen = np.arange(len(likely)) if order is None else order
    chosen = chosen[np.argsort(-likely[chosen], kind="stable")]
    found = np.empty(count, KEPT_TOKEN)
    found["id"], found["value"] = chosen, likely[chosen]
    kept.write(found.tobytes())


def kept_of(kept: BinaryIO, tokens: int) -> Kept:
    """The next distribution that was kept."""
    size = min(KEPT, tokens) * KEPT_TOKEN.itemsize
    return np.frombuffer(kept.read(size), KEPT_TOKEN)


def diverged(first: Kept, likely: NDArray[np.float64]) -> float:
    """KL(first || these), in nats: S. Kullback and R. A. Leibler, "On information and sufficiency",
    Annals of Mathematical Statistics 22 (1951), 79-86. Tokens that were not kept count as one."""
    wanted, other = first["value"].astype(np.float64), likely[first["id"]]
    shares = np.exp(wanted)
    total = float((shares * (wanted - other)).sum())
    rest, left = 1 - float(shares.sum()), 1 - float(np.exp(other).sum())
    if len(first) < len(likely) and rest > 1e-9 and left > 1e-12:
        total += rest * float(np.log(rest / left))
    return total


def seconds_of(model: Model, ids: Sequence[int]) -> tuple[float, float]:
    """Seconds for reading a prompt and for generating an answer, each of a fixed length."""
    tuple(model.read(ids[:8], 1))  # the first computation also sets up
    model.forget()
    began = time.perf_counter()
    (logits,) = model.read(ids, 1)
    token = int(logits.argmax())
    between = time.perf_counter()
    for _ in range(ANSWER):
        (logits,) = model.read([token], 1)
        token = int(logits.argmax())
    return between - began, time.perf_counter() - between


def main(path: Path) -> int:
    """Do the job in the file."""
    job = from_json(json.loads(path.read_text(encoding="utf-8")), Job)

    def told(what: str, done: int, total: int) -> None:
        print(json.dumps({"what": what, "done": done, "total": total}), flush=True)

    try:
        found = measure(job, told)
    except (Unusable, ImportError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        return NOT_USABLE
    found_files = {"files": [asdict(one) for one in found]}
    job.out.write_text(json.dumps(found_files), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
