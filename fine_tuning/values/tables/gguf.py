"""Number formats of GGUF files, by the names that llama.cpp has for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GgufType:
    """One format. `ftype` is llama.cpp's number for what its quantiser makes (llama.h); None: its
    converter writes it by itself. `main`: the format that most of its tensors have where their rows
    can be cut into blocks of 256 numbers; empty: they need not."""

    bits: float  # of a weight, about
    ftype: int | None = None
    main: str = ""


GGUF_TYPES: Mapping[str, GgufType] = {
    "f32": GgufType(bits=32),
    "f16": GgufType(bits=16),
    "bf16": GgufType(bits=16),
    "q8_0": GgufType(bits=8.5),
    "q6_k": GgufType(bits=6.6, ftype=18, main="q6_K"),
    "q5_k_m": GgufType(bits=5.7, ftype=17, main="q5_K"),
    "q4_k_m": GgufType(bits=4.9, ftype=15, main="q4_K"),
    "q4_k_s": GgufType(bits=4.6, ftype=14, main="q4_K"),
    "q4_0": GgufType(bits=4.5, ftype=2),
    "iq4_xs": GgufType(bits=4.3, ftype=30, main="iq4_xs"),
    "q3_k_m": GgufType(bits=3.9, ftype=12, main="q3_K"),
    "q2_k": GgufType(bits=3.0, ftype=10, main="q2_K"),
}
# What `--gguf ladder` makes and compares; the first is not quantised.
LADDER = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m")
ALL_SIZES = "ladder"
BLOCK = 256  # numbers of a row that K-quants pack together (ggml/src/ggml-common.h: QK_K)
# What a quantiser reads is written in the precision of the model's own weights.
UNQUANTIZED: Mapping[str, str] = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
OLLAMA_NAME = re.compile(r"[\w.-]+(/[\w.-]+){0,2}(:[\w.-]+)?", re.ASCII)
MOST_LETTERS = 80  # of a part of such a name (types/model/name.go of Ollama)
USUAL = "q8_0"  # where a GGUF file is needed and no format was named


def ollama_name(title: str) -> str:
    """A name that Ollama takes, of a title in any script."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", title)[:MOST_LETTERS].strip("-.")
    return name or "model"
