"""Quantise a GGUF file by llama.cpp's library, where its own program for that is not at hand.

    python -m fine_tuning.ship.llama_cpp.quantize LIBRARIES SOURCE TARGET TYPE THREADS

A process of its own: llama.cpp ends the process when it meets what it does not expect.
"""

import ctypes
import os
import sys
from pathlib import Path


class Parameters(ctypes.Structure):
    """The first two members of `llama_model_quantize_params` (llama.h), and room for the others:
    the library fills in their defaults, whichever its release has."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int),
        ("others", ctypes.c_byte * 1024),
    )


def quantize(libraries: Path, source: Path, target: Path, ftype: int, threads: int) -> int:
    """What llama.cpp returns: 0 where it has written the file."""
    ggml, llama = (_loaded(libraries, name) for name in ("ggml", "llama"))
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(os.fsencode(libraries))
    llama.llama_backend_init()
    llama.llama_model_quantize_default_params.restype = Parameters
    parameters = llama.llama_model_quantize_default_params()
    parameters.nthread, parameters.ftype = threads, ftype
    llama.llama_model_quantize.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(Parameters),
    ]
    llama.llama_model_quantize.restype = ctypes.c_uint32
    code: int = llama.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)
    )
    return code


def _loaded(libraries: Path, name: str) -> ctypes.CDLL:
    """lib<name>.so as it is called with its version, or as other systems call it."""
    for pattern in (f"lib{name}.so*", f"lib{name}.v*.so", f"lib{name}.dylib", f"{name}.dll"):
        for path in sorted(libraries.glob(pattern)):
            return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    raise FileNotFoundError(f"there is no library {name} in {libraries}")


if __name__ == "__main__":
    place, source, target, ftype, threads = sys.argv[1:]
    sys.exit(quantize(Path(place), Path(source), Path(target), int(ftype), int(threads)))
