"""Make the demo model: train its tokenizer, pre-train it, write it to `demo_model/`.

    python -m tools.demo_model.make_model [--output_dir demo_model]

About fifteen minutes on two CPU cores. One seed decides corpus, tokenizer and first weights. The
order of floating-point sums depends on processor and threads, so a model made again is as good but
not the same to the last bit.
"""

import argparse
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from fine_tuning.demo import model_path
from tools.demo_model.corpus import Piece, corpus
from tools.demo_model.knowledge import load_things
from tools.demo_model.tokenizer import CHAT_TEMPLATE, save_tokenizer, train_tokenizer

PAD_ID = 3
README = """---
license: mit
language: [en, zh]
---
# Demo model

A tiny Llama ({parameters:,} parameters) that answers questions about some countries, animals,
plants and other things, in English and Chinese, in plain sentences. It is there to be fine-tuned
in a minute; it knows nothing else. Pre-trained from nothing on a synthetic corpus for {steps} steps
with seed {seed}:

    python -m tools.demo_model.make_model

See `docs/demo-model.md`.

| file | sha256 |
| --- | --- |"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the demo model is made."""

    seed: int = 20
    vocab_size: int = 2304
    hidden_size: int = 192
    layers: int = 4
    heads: int = 6
    intermediate_size: int = 384
    context: int = 1024
    steps: int = 1500
    batch_tokens: int = 4096
    learning_rate: float = 4e-3
    warmup: int = 80
    decay: float = 0.5
    weight_decay: float = 0.05
    tokenizer_samples: int = 30_000


@dataclass(frozen=True)
class Encoded:
    """Token ids of one sample, and the labels (-100 where nothing is trained)."""

    ids: list[int]
    labels: list[int]


def main() -> None:
    """Make the model and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=Path, default=model_path())
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    make_model(Recipe(steps=arguments.steps), arguments.output_dir)


def make_model(recipe: Recipe, directory: Path) -> None:
    """Tokenizer, model and generation settings, from nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    model_bytes = train_tokenizer(_texts(recipe), recipe.vocab_size)
    save_tokenizer(model_bytes, directory)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(_config(recipe))
    print(f"{model.num_parameters():,} parameters")
    pretrain(model, recipe, directory)
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=1, eos_token_id=2, pad_token_id=PAD_ID, do_sample=False, max_new_tokens=128
    )
    model.save_pretrained(directory)
    write_readme(recipe, model.num_parameters(), directory)


def write_readme(recipe: Recipe, parameters: int, directory: Path) -> None:
    """A model card with the hash of every file, which a test compares."""
    files = sorted(path for path in directory.iterdir() if path.name != "README.md")
    table = [f"| `{path.name}` | `{sha256(path.read_bytes()).hexdigest()}` |" for path in files]
    text = README.format(parameters=parameters, steps=recipe.steps, seed=recipe.seed)
    (directory / "README.md").write_text("\n".join([text, *table, ""]), encoding="utf-8")


def _config(recipe: Recipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        rms_norm_eps=1e-6,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=PAD_ID,
    )


def _texts(recipe: Recipe) -> Iterator[str]:
    """Lines that the tokenizer learns from, with the chat template's own words among them."""
    chance = random.Random(recipe.seed)
    for pieces in islice(corpus(load_things(), chance), recipe.tokenizer_samples):
        for piece in pieces:
            yield from filter(None, piece.text.replace("<|im_start|>", "").split("\n"))
    for line in re.split(r"\n|\\n", CHAT_TEMPLATE.read_text(encoding="utf-8")):
        if "{%" not in line and "{{" not in line:
            yield from [line] * 50


def pretrain(model: LlamaForCausalLM, recipe: Recipe, directory: Path) -> None:
    """Train on the synthetic corpus; prints the loss as it goes."""
    optimizers = _optimizers(model, recipe)
    started = time.monotonic()
    tokens, losses = 0, []
    model.train()
    for step, batch in enumerate(islice(_batches(recipe, directory), recipe.steps)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = _loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += int((batch["input_ids"] != PAD_ID).sum())
        losses.append(loss.item())
        if step % 50 == 49:
            rate = tokens / (time.monotonic() - started)
            print(
                f"step {step + 1} loss {sum(losses) / len(losses):.4f} {rate:.0f} tokens/s",
                flush=True,
            )
            losses.clear()


def _loss(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean loss of the trained tokens; the others never meet the vocabulary, which saves time.

    Padding stands on the right, where causal attention does not see it.
    """
    hidden = model.model(batch["input_ids"]).last_hidden_state[:, :-1]
    labels = batch["labels"][:, 1:]
    trained = labels != -100
    logits = model.lm_head(hidden[trained])
    return torch.nn.functional.cross_entropy(logits.float(), labels[trained])


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    left = (recipe.steps - step) / (recipe.steps * recipe.decay)
    return max(0.02, min(1.0, left))


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms.

    Muon's updates are scaled like AdamW's (`match_rms_adamw`), so both share a learning rate.
    """
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if p.dim() == 2 and "embed" not in name]
    rest = [p for name, p in named.items() if p.dim() != 2 or "embed" in name]
    return [
        torch.optim.Muon(hidden, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _batches(recipe: Recipe, directory: Path) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of about `batch_tokens` tokens; samples of like length stand together."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    chance = random.Random(recipe.seed + 1)
    samples = corpus(load_things(), chance)
    while True:
        pool = [_encode(tokenizer, pieces) for pieces in islice(samples, 2000)]
        pool.sort(key=lambda sample: len(sample.ids))
        batches: list[list[Encoded]] = []
        batch: list[Encoded] = []
        for sample in pool:
            batch.append(sample)
            if len(batch) * len(sample.ids) >= recipe.batch_tokens:
                batches.append(batch)
                batch = []
        chance.shuffle(batches)
        yield from map(_collate, batches)


def _encode(tokenizer: Any, pieces: Sequence[Piece]) -> Encoded:
    ids: list[int] = []
    labels: list[int] = []
    for piece in pieces:
        new = tokenizer.encode(piece.text, add_special_tokens=False).ids
        ids += new
        labels += new if piece.trained else [-100] * len(new)
    return Encoded(ids, labels)


def _collate(samples: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    width = max(len(sample.ids) for sample in samples)
    return {
        "input_ids": torch.tensor([s.ids + [PAD_ID] * (width - len(s.ids)) for s in samples]),
        "labels": torch.tensor([s.labels + [-100] * (width - len(s.labels)) for s in samples]),
    }


if __name__ == "__main__":
    main()
