"""Token lengths of all rows: ours beside the bare tokenizers library and LLaMA-Factory's processor.

    .venv/bin/python bench/tokens.py [--rows 20000]

All three count the same rows with the same tokenizer and template in one run; the figures are
ratios. The bare library tokenizes the rendered texts in batches: nobody can be faster with it.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments

from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.tokens.lengths import count_tokens, whole_length
from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages, engine_text

BATCH = 2000
REPEATS = 3


def tokenizer_for(texts: list[str]) -> Any:
    """A byte-level BPE tokenizer of 16,000 tokens, trained on the texts."""
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


def write_rows(path: Path, count: int) -> list[str]:
    """Chat rows of about 500 bytes over a made-up vocabulary; gives some of the texts."""
    random.seed(0)
    letters = "etaoinshrdlcumwfgypbvk"
    words = ["".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(20_000)]
    texts = []
    with path.open("w", encoding="utf-8") as out:
        for _ in range(count):
            question = " ".join(random.choices(words, k=25))
            reply = " ".join(random.choices(words, k=55))
            turns = [
                {"from": "user", "value": question},
                {"from": "assistant", "value": reply},
            ]
            out.write(json.dumps({"conversations": turns, "system": "", "tools": ""}) + "\n")
            texts.append(reply)
    return texts[:4000]


def median_seconds(work: Callable[[], Any]) -> float:
    """The median of a few runs."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print rows per second and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        tokenizer = tokenizer_for(write_rows(path, count))
        arguments = DataArguments(template="qwen", cutoff_len=100_000)
        template = get_template_and_fix_tokenizer(tokenizer, arguments)
        rows = list(read_rows(path))
        texts = [engine_text(template, tokenizer, row)[1] for row in rows]

        def library() -> int:
            backend = tokenizer.backend_tokenizer
            return sum(
                len(encoding)
                for start in range(0, count, BATCH)
                for encoding in backend.encode_batch_fast(
                    texts[start : start + BATCH], add_special_tokens=False
                )
            )

        def ours() -> int:
            how = Rendering("chat", template, tokenizer)
            return sum(whole_length(how, counts) for counts in count_tokens(how, read_rows(path)))

        few = rows[: max(1, count // 10)]
        processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)

        def engine() -> int:
            total = 0
            for row in few:
                messages = engine_messages(row)
                ids, _ = processor._encode_data_example(
                    messages[:-1], messages[-1:], "", "", [], [], []
                )
                total += len(ids)
            return total

        assert library() == ours()
        rates = {
            "tokenizers library, bare": count / median_seconds(library),
            "ours, from the file": count / median_seconds(ours),
            "LLaMA-Factory's processor": len(few) / median_seconds(engine),
        }
    best = rates["tokenizers library, bare"]
    for name, rate in rates.items():
        print(f"{name:28} {rate:10,.0f} rows/s {rate / best:7.0%}")


if __name__ == "__main__":
    main()
