"""Rows counted and encoded: ours beside the bare tokenizers library and LLaMA-Factory's processor.

    .venv/bin/python bench/tokens.py [--rows 20000] [--rounds 2] [--tokenizer DIRECTORY]
    .venv/bin/python bench/tokens.py --tokenizer QWEN3 --own_template qwen3   # its own template

All take the same rows with the same tokenizer and template, by turns in one run; the figures are
ratios of the least times. The bare library tokenizes the rendered texts in batches. `encoded` makes
what is trained where rows are encoded ahead (docs/template.md), the columns that are written: by
one thread, by all threads that the library takes, and by two processes. A run looks at its rows
first and keeps what that makes of them, so that its encoding is the last line but one.
"""

import argparse
import gc
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments

from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.served.encoder import encoder_of
from fine_tuning.engine.worker.served.kept import Keeping, Kept
from fine_tuning.engine.worker.served.survey import survey
from fine_tuning.engine.worker.served.write import encoded
from fine_tuning.engine.worker.tokens.counting.lengths import count_tokens, whole_length
from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages, engine_text

BATCH = 2000
NOTHING: tuple[Any, ...] = ("", "", [], [], [])  # system, tools, media
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REPEATS = 5
ENGINE = "LLaMA-Factory's processor"


def tokenizer_for(texts: list[str], directory: str | None) -> Any:
    """The one in a directory, or a byte-level BPE of 16,000 tokens, trained on the texts."""
    if directory:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(directory)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=16_000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def write_rows(path: Path, count: int, rounds: int) -> list[str]:
    """Chat rows of about 500 bytes a round over a made-up vocabulary; gives some of the texts."""
    random.seed(0)
    letters = "etaoinshrdlcumwfgypbvk"
    words = ["".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(20_000)]
    texts = []
    with path.open("w", encoding="utf-8") as out:
        for _ in range(count):
            turns = []
            for _ in range(rounds):
                reply = " ".join(random.choices(words, k=55))
                turns.append({"from": "user", "value": " ".join(random.choices(words, k=25))})
                turns.append({"from": "assistant", "value": reply})
                texts.append(reply)
            out.write(json.dumps({"conversations": turns, "system": "", "tools": ""}) + "\n")
    return texts[:4000]


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock, and of CPU time of all processes together."""

    wall: float
    cpu: float


def by_turns(works: Mapping[str, Callable[[], Any]]) -> dict[str, Taken]:
    """The least seconds of each, which run one after the other a few times: other programs slow
    all of them, now more and now less."""
    taken: dict[str, list[Taken]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            gc.collect()
            wall, cpu = time.perf_counter(), cpu_seconds()
            work()
            taken[name].append(Taken(time.perf_counter() - wall, cpu_seconds() - cpu))
    return {
        name: Taken(min(one.wall for one in found), min(one.cpu for one in found))
        for name, found in taken.items()
    }


def cpu_seconds() -> float:
    """Of this process and the ones that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Print rows per second and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokenizer", help="a directory with a tokenizer and a ChatML template")
    parser.add_argument(
        "--own_template",
        metavar="NAME",
        help="encode by the tokenizer's own template, beside LLaMA-Factory's of this name",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        texts = write_rows(path, options.rows, options.rounds)
        tokenizer = tokenizer_for(texts, options.tokenizer)
        taken = measured(path, options.rows, tokenizer, options.own_template)
    engine = taken[ENGINE]
    print(f"{'':32} {'rows/s':>10} {'times as fast as LLaMA-Factory':>32} {'by CPU time':>12}")
    for name, one in taken.items():
        fast, cheap = engine.wall / one.wall, engine.cpu / one.cpu
        print(f"{name:32} {1 / one.wall:10,.0f} {fast:32.2f} {cheap:12.2f}")


def measured(path: Path, count: int, tokenizer: Any, own: str | None = None) -> dict[str, Taken]:
    """What one row takes in each way."""
    own_template = tokenizer.chat_template
    arguments = DataArguments(template=own or "chatml", cutoff_len=100_000, enable_thinking=False)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    tokenizer.chat_template = own_template if own else CHATML
    rows = list(read_rows(path))
    texts = [engine_text(template, tokenizer, row)[1] for row in rows]
    encoder = encoder_of(tokenizer, "chat")
    assert encoder is not None
    few = rows[: max(1, count // 5)]
    kept = path.with_name("kept")
    processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)

    def library() -> int:
        backend = tokenizer.backend_tokenizer
        return sum(
            len(encoding)
            for start in range(0, count, BATCH)
            for encoding in backend.encode_batch_fast(
                texts[start : start + BATCH], add_special_tokens=False
            )
        )

    def counted() -> int:
        how = Rendering("chat", template, tokenizer)
        return sum(whole_length(how, counts) for counts in count_tokens(how, read_rows(path)))

    def ahead(processes: int, threads: str) -> int:
        os.environ["TOKENIZERS_PARALLELISM"] = threads
        fresh = encoder_of(tokenizer, "chat")
        assert fresh is not None
        wanted = DataArguments(cutoff_len=100_000)
        total = sum(
            len(table["input_ids"].combine_chunks().values)
            for _, table in encoded(fresh, rows, wanted, processes)
        )
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        return total

    def looked_at() -> int:
        shutil.rmtree(kept, ignore_errors=True)
        fresh = encoder_of(tokenizer, "chat")
        assert fresh is not None
        return sum(survey(fresh, iter(rows), None, keeping=Keeping(kept, fresh)).lengths)

    def after_look() -> int:
        known = Kept(kept, encoder)
        tables = encoded(encoder, rows, DataArguments(cutoff_len=100_000), kept=known)
        return sum(len(table) for _, table in tables)

    def engine() -> int:
        total = 0
        for row in few:
            messages = engine_messages(row)
            total += len(processor._encode_data_example(messages[:-1], messages[-1:], *NOTHING)[0])
        return total

    behind = count * len(tokenizer.encode("\n", add_special_tokens=False))  # the last answers
    # A template of its own may write history anew, and make two sequences of a row.
    assert own or library() == counted() == ahead(1, "true") + behind
    ways: dict[str, Callable[[], Any]] = {
        "tokenizers library, bare": library,
        "counted, from the file": counted,
        "encoded, one thread": lambda: ahead(1, "false"),
        "encoded, threads of the library": lambda: ahead(1, "true"),
        "encoded, two processes": lambda: ahead(2, "true"),
        "looked at, what it makes kept": looked_at,
        "encoded from what was kept": after_look,
        ENGINE: engine,
    }
    rows_of = {name: len(few) if name == ENGINE else count for name in ways}
    return {
        name: Taken(one.wall / rows_of[name], one.cpu / rows_of[name])
        for name, one in by_turns(ways).items()
    }


if __name__ == "__main__":
    main()
