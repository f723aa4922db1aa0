"""Where llama.cpp's converter and quantiser are: named by the user, on the PATH, or set up here."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.disk.resources import tool_command, tool_home
from fine_tuning.errors import EnvironmentProblem

VARIABLE = "LLAMA_CPP_DIR"
SET_UP = ("llama-cpp", "fine_tuning.ship.llama_cpp")
CONVERTER, LORA_CONVERTER = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
QUANTIZER = "llama-quantize"
# Where a build of llama.cpp, or a release of it, has its programs.
BUILT_IN = ("build/bin", "build/bin/Release", "bin", ".")


def home() -> Path:
    """Where the set-up puts its files."""
    return tool_home("llama.cpp")


@dataclass(frozen=True, kw_only=True)
class LlamaCpp:
    """`source` is a folder with llama.cpp's converters. `quantizer` is its program for that, or the
    folder of its libraries; None where there is neither, and none was asked for."""

    source: Path
    quantizer: Path | None


def find(given: Path | None, *, quantizer: bool) -> LlamaCpp:
    """The converter, and with `quantizer` also what quantises, of the first place that has them:
    `given` (--llama_cpp), LLAMA_CPP_DIR, the PATH, the set-up's own folder.

    Raises EnvironmentProblem if one is missing: it names the command that gets it.
    """
    places = list(_places(given))
    gets_it = f"`{tool_command(*SET_UP)}` gets it, or give a folder of llama.cpp with --llama_cpp"
    if given is not None and not (_has_converter(given) or _quantizer(given)):
        raise EnvironmentProblem(
            f"--llama_cpp {given} holds nothing of llama.cpp's: neither {CONVERTER} nor "
            f"{QUANTIZER}.",
            fix=gets_it,
        )
    source = next(filter(_has_converter, places), None)
    program = next(filter(None, map(_quantizer, places)), None)
    if source is None or (quantizer and program is None):
        missing = f"converter ({CONVERTER})" if source is None else f"quantiser ({QUANTIZER})"
        looked = ", ".join(map(str, places))
        raise EnvironmentProblem(
            f"llama.cpp's {missing} is not here.",
            why=f"it was looked for in {looked}",
            fix=gets_it,
        )
    return LlamaCpp(source=source, quantizer=program)


def _places(given: Path | None) -> Iterator[Path]:
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        yield named
    for program in (CONVERTER, QUANTIZER):
        found = shutil.which(program)
        if found is not None:
            yield Path(found).resolve().parent
    yield home()


def _has_converter(place: Path) -> bool:
    return (place / CONVERTER).is_file() and (place / "gguf-py").is_dir()


def _quantizer(place: Path) -> Path | None:
    """The program in a folder of llama.cpp, or its libraries as the set-up leaves them."""
    for folder in BUILT_IN:
        found = shutil.which(QUANTIZER, path=str(place / folder))
        if found is not None:
            return Path(found)
    libraries = place / "quantizer"
    return libraries if libraries.is_dir() else None
