"""The peak memory of a merge beside the size of the model: ours, and LLaMA-Factory's export.

    .venv/bin/python bench/merge_memory.py [--layers 20]

The model has random weights in bfloat16 (3 GB with 20 layers) in files of 1 GB, and a LoRA adapter
of rank 16 on every linear layer. Each way runs in a process of its own, whose largest resident set
the system counts: pages of files that are mapped are in it. Ours end with the proof. What the
process takes before it has seen a model is told apart.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "ERROR")

GB, SHARD = 10**9, 1


def main() -> int:
    """Print the table; the exit code says whether the files are the same and two shards held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=20)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        peak_of(lambda: build(place, wanted.layers))
        size = sum(file.stat().st_size for file in (place / "base").glob("*.safetensors"))
        libraries = peak_of(imported)
        print(f"model {size / GB:.2f} GB, shards of {SHARD} GB; libraries {libraries / GB:.2f} GB")
        print(f"{'way':34} {'peak':>8} {'of the model':>13} {'beside the libraries':>21}")
        held = True
        for name, way in WAYS.items():
            peak = peak_of(partial(way, place))
            beside = (peak - libraries) / (SHARD * GB)
            print(f"{name:34} {peak / GB:5.2f} GB {peak / size:13.2f} {beside:14.2f} shards")
            held &= name != BY_SHARDS or beside <= 2
        same = (
            hashes_in(place / "memory")
            == hashes_in(place / "shards")
            == hashes_in(place / "theirs")
        )
        print("the weights are the same, byte by byte" if same else "THE WEIGHTS DIFFER")
    return 0 if same and held else 1


def peak_of(work: Callable[[], object]) -> int:
    """The largest resident set in bytes of a process that does this. Raises SystemExit if it
    fails."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit("a measurement failed")
    return used.ru_maxrss * 1024


def build(place: Path, layers: int) -> None:
    """The base model and its adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from fine_tuning.demo import model_path

    AutoTokenizer.from_pretrained(model_path()).save_pretrained(place / "base")
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=16,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(place / "base", max_shard_size=f"{SHARD}GB")
    tuned = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    tuned.save_pretrained(place / "adapter")


def imported() -> None:
    """What every merge imports before it sees a model."""
    import fine_tuning.engine.worker.stages  # noqa: F401


def settings_of(place: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": str(place / "base"),
        "adapter_name_or_path": str(place / "adapter"),
        "template": "empty",
        "finetuning_type": "lora",
        "export_size": SHARD,
    }


def theirs(place: Path) -> None:
    """LLaMA-Factory's export alone."""
    from llamafactory.train.tuner import export_model

    export_model(
        {**settings_of(place), "export_dir": str(place / "theirs"), "infer_dtype": "bfloat16"}
    )


def ours(place: Path, merge_in: str) -> None:
    """The worker's merge, with its proof."""
    from fine_tuning.engine.worker.events import Events
    from fine_tuning.engine.worker.merging.merge import merge

    with Path(os.devnull).open("w", encoding="utf-8") as nobody:
        found = merge(
            events=Events(nobody),
            settings=settings_of(place),
            base=str(place / "base"),
            partial_dir=str(place / merge_in),
            probe_rows=None,
            chat_template=None,
            merge_in=merge_in,
        )
    assert found["proof"]["proved"] is True


BY_SHARDS = "ours, --merge_in shards"
WAYS: Mapping[str, Callable[[Path], None]] = {
    "LLaMA-Factory's export": theirs,
    "ours, --merge_in memory": lambda place: ours(place, "memory"),
    BY_SHARDS: lambda place: ours(place, "shards"),
}


def hashes_in(folder: Path) -> dict[str, str]:
    """The weights of a folder by file; then its files are gone, for the disk's sake."""
    from fine_tuning.disk import hashes

    found = hashes.of_files(folder, ("*.safetensors",))
    shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    sys.exit(main())
