"""Number formats of GGUF files, by the names that llama.cpp has for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GgufType:
    """One format. `ftype` is llama.cpp's number for what its quantiser makes (llama.h); None: its
    converter writes it by itself."""

    bits: float  # of a weight, about
    ftype: int | None = None


GGUF_TYPES: Mapping[str, GgufType] = {
    "f32": GgufType(bits=32),
    "f16": GgufType(bits=16),
    "bf16": GgufType(bits=16),
    "q8_0": GgufType(bits=8.5),
    "q6_k": GgufType(bits=6.6, ftype=18),
    "q5_k_m": GgufType(bits=5.7, ftype=17),
    "q4_k_m": GgufType(bits=4.9, ftype=15),
    "q4_k_s": GgufType(bits=4.6, ftype=14),
    "q4_0": GgufType(bits=4.5, ftype=2),
    "iq4_xs": GgufType(bits=4.3, ftype=30),
    "q3_k_m": GgufType(bits=3.9, ftype=12),
    "q2_k": GgufType(bits=3.0, ftype=10),
}
# What a quantiser reads is written in the precision of the model's own weights.
UNQUANTIZED: Mapping[str, str] = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
OLLAMA_NAME = re.compile(r"[\w.-]+(/[\w.-]+){0,2}(:[\w.-]+)?", re.ASCII)
MOST_LETTERS = 80  # of a part of such a name (types/model/name.go of Ollama)
USUAL = "q8_0"  # where a GGUF file is needed and no format was named


def ollama_name(title: str) -> str:
    """A name that Ollama takes, of a title in any script."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", title)[:MOST_LETTERS].strip("-.")
    return name or "model"
