"""What a model's own files say before it is loaded: whether it can be written in a format, in which
groups, and about how long that takes."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fine_tuning.errors import ModelError
from fine_tuning.ship.weights import Shape, shapes
from fine_tuning.values.tables.compressed import Compressed

# What llm-compressor leaves as it is: no layer of kind Linear, or ignored by the recipe.
WHOLE = re.compile(r"(^|\.)(lm_head|embed\w*|wte|wpe|word_embeddings|shared|norm\w*)\.weight$")
BEYOND_TEXT: Mapping[str, str] = {
    **dict.fromkeys(("vision_config", "audio_config"), "it takes pictures or sounds"),
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts"), "it is a mixture of experts"
    ),
}
SIZE = 1024  # of the matrices that a processor's speed is measured with
OTHERS_OF_IT = "serve the merged model as it is, or write another format with --gguf"


def matrices(model: Path) -> Mapping[str, Shape]:
    """The layers that are quantised: outputs and inputs of each, by its name."""
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes(model)
        if name.endswith(".weight") and len(shape) == 2 and not WHOLE.search(name)
    }


def refuse_unknown(model: Path, name: str) -> None:
    """Raise ModelError for a kind of model of which nobody has seen here that it works."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    why = next((text for key, text in BEYOND_TEXT.items() if config.get(key)), "")
    if config.get("auto_map"):
        why = "its own code would have to be run"
    if why:
        raise ModelError(
            f"--export_quantization {name} was tried with plain language models alone.",
            why=f"{model}: {why}",
            fix=OTHERS_OF_IT,
        )


def group_for(model: Path, name: str, kind: Compressed) -> int:
    """How many inputs share a scale: the first of the format's that divides every layer's (0: it
    has none). Raises ModelError with the sizes if none does."""
    sizes = sorted({shape[1] for shape in matrices(model).values()})
    if not sizes and kind.groups:
        raise ModelError(
            f"--export_quantization {name}: {model} has no layers that it knows.",
            why="its safetensors files hold no matrices besides embeddings",
            fix=OTHERS_OF_IT,
        )
    found = next((it for it in kind.groups if not any(size % it for size in sizes)), None)
    if found is None and kind.groups:
        odd = [size for size in sizes if size % kind.groups[-1]]
        raise ModelError(
            f"--export_quantization {name}: no group of inputs fits every layer of this model.",
            why=f"layers have {', '.join(map(str, odd))} inputs, which neither "
            f"{' nor '.join(map(str, kind.groups))} divides",
            fix="take --export_quantization fp8, which has no groups, or --gguf q4_k_m",
        )
    return found or 0


def operations(layers: Sequence[Shape], tokens: int, kind: Compressed) -> float:
    """Floating point operations, about: the tokens through every layer, and for GPTQ the sums of
    squares of their inputs, the inverse of these, and the columns one by one (E. Frantar et al.,
    "GPTQ", ICLR 2023, algorithm 1)."""
    through = sum(2.0 * tokens * outputs * inputs for outputs, inputs in layers) * kind.passes
    if kind.method != "W4A16":
        return through
    squares = sum(2.0 * tokens * inputs**2 for _, inputs in layers)
    solved = sum(2.0 * outputs * inputs**2 + inputs**3 for outputs, inputs in layers)
    return through + squares + solved


def operations_a_second() -> float:
    """What this processor does of them now, by a product of two matrices."""
    one = np.ones((SIZE, SIZE), dtype=np.float32)
    one @ one  # wakes its threads
    began = time.perf_counter()
    one @ one
    return 2.0 * SIZE**3 / (time.perf_counter() - began)
