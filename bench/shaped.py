"""A model of a real size with random weights, where none can be downloaded: for memory and speed.

    .venv/bin/python bench/shaped.py 8B DIR [--rows 1000 --tokens 900]

Names of sizes are those of bench/memory.py. It has the demo model's tokenizer, so that the demo's
rows train on it, and is made on the GPU where there is one. With `--rows` a file DIR.json of chat
rows is written beside it, whose prompts have about so many tokens.
"""

import argparse
import json
import random
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from bench.memory import SHAPES
from fine_tuning.demo import model_path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the model, and rows where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, help="fewer than the size has")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=900)
    parser.add_argument("--uneven", action="store_true", help="from an eighth of them upwards")
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    config = SHAPES[given.shape]()
    if given.layers:
        fewer = {"num_hidden_layers": given.layers, "layer_types": None}
        config = type(config)(**{**config.to_dict(), **fewer})
    config.max_position_embeddings, config.dtype = 32768, torch.bfloat16
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(given.folder)
    for file in Path(model_path()).glob("tokenizer*"):
        shutil.copy(file, given.folder)
    print(f"{given.folder}: {model.num_parameters():,} parameters")
    if given.rows:
        rows = made(given, tokenizer)
        given.folder.with_suffix(".json").write_text(json.dumps(rows), encoding="utf-8")


def made(given: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, str]]:
    """Rows of words of the bundled sample."""
    text = (ROOT / "data" / "alpaca.json").read_text(encoding="utf-8")
    words = " ".join(it["output"] for it in json.loads(text)).split()
    share = len(tokenizer(" ".join(words)).input_ids) / len(words)
    dice = random.Random(0)

    def some(count: int) -> str:
        return " ".join(dice.choices(words, k=int(count / share)))

    least = given.tokens // 8 if given.uneven else given.tokens
    prompts = (some(dice.randint(least, given.tokens)) for _ in range(given.rows))
    return [{"instruction": it, "input": "", "output": some(40)} for it in prompts]


if __name__ == "__main__":
    main()
