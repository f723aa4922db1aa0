"""A model as a GGUF file: written by llama.cpp's programs, opened and compared with the model."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fine_tuning.disk.files import DISK_FULL, FREE_SPACE
from fine_tuning.errors import EngineError, EnvironmentProblem, FineTuningError
from fine_tuning.ship.conversations import CHATS
from fine_tuning.ship.llama_cpp.place import CONVERTER, LORA_CONVERTER, LlamaCpp
from fine_tuning.ship.llama_cpp.serve import ask, serving
from fine_tuning.units import bytes_text
from fine_tuning.values.results import TokenizerFacts
from fine_tuning.values.tables.gguf import GGUF_TYPES, UNQUANTIZED

SERVE_MERGED = (
    "serve the merged model with vLLM or Transformers, or take a base model that llama.cpp knows"
)
CONTEXT = 2048  # tokens, for looking at a file
# Scripts, numbers, code, blanks and signs that tokenizers cut in different ways.
TEXT = (
    "The quick brown fox can't jump over 1234567 lazy dogs, costing $3.50 (or 1,000 yen)!\n\n"
    "水在零度结冰，一百度沸腾。北京大学的学生们在2024年。\nПривет, мир! Ünïcödé café naïve.\n"
    "日本語のテキストです。한국어 문장입니다. हिन्दी में लिखा हुआ। שלום עולם مرحبا بالعالم\n"
    "def f(x):\n\tif x >= 10:\n        return x ** 2  # 3.14\n\n\n"
    "   🙂👍🏽 e\u0301 \u200b ½ ﬁ\r\nEND"
)
# What llama.cpp's programs say, what that means, and what to do.
KNOWN: Sequence[tuple[str, str, str]] = (
    (
        "pre-tokenizer was not recognized",
        "llama.cpp does not know how this tokenizer cuts text, so it would make other tokens",
        SERVE_MERGED,
    ),
    (
        "is not supported",
        "llama.cpp does not know this kind of model",
        SERVE_MERGED,
    ),
    ("No space left on device", DISK_FULL, FREE_SPACE),
)


def dtype_of(model: Path) -> str:
    """The number format of a model's files, as its config has it; float32 if it does not say."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config = {**(config.get("text_config") or {}), **config}
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def require_room(folder: Path, model: Path, dtype: str, types: Sequence[str]) -> None:
    """Raise EnvironmentProblem unless the folder's disk has room for files of these formats, and
    for the one in full precision that they are quantised from meanwhile."""
    stored = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    whole = GGUF_TYPES[UNQUANTIZED.get(dtype, "f16")].bits
    between = whole if any(GGUF_TYPES[kind].ftype is not None for kind in types) else 0
    needed = stored / whole * (sum(GGUF_TYPES[kind].bits for kind in types) + between)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentProblem(
            f"{', '.join(types)} need about {bytes_text(needed)}, and {folder} has "
            f"{bytes_text(free)} free.",
            fix="free space, name a place on another disk with --gguf_dir, or make fewer",
        )


def convert(
    tools: LlamaCpp,
    model: Path,
    target: Path,
    outtype: str,
    name: str,
    log: Path,
    *more: str,
) -> None:
    """Write the model's directory as a GGUF file, with `more` words for the converter. Raises
    EngineError if llama.cpp cannot."""
    words = ["--outfile", str(target), "--outtype", outtype, "--model-name", name, *more]
    _run([str(tools.source / CONVERTER), str(model), *words], tools, target, log)


def convert_adapter(tools: LlamaCpp, adapter: Path, base: Path, target: Path, log: Path) -> None:
    """Write a LoRA adapter as a GGUF file, in the precision in which adapters are saved."""
    words = ["--outfile", str(target), "--outtype", "f32", "--base", str(base)]
    _run([str(tools.source / LORA_CONVERTER), str(adapter), *words], tools, target, log)


def quantize(tools: LlamaCpp, source: Path, target: Path, kind: str, log: Path) -> None:
    """Write an unquantised GGUF file in another format of llama.cpp's."""
    ftype, threads = GGUF_TYPES[kind].ftype, os.cpu_count() or 1
    assert tools.quantizer is not None and ftype is not None
    if tools.quantizer.is_dir():
        module = "fine_tuning.ship.llama_cpp.quantize"
        words = ["-P", "-m", module, str(tools.quantizer), str(source), str(target), str(ftype)]
        _run([*words, str(threads)], tools, target, log)
    else:
        words = [str(source), str(target), kind.upper(), str(threads)]
        _run([str(tools.quantizer), *words], tools, target, log)


def _run(words: Sequence[str], tools: LlamaCpp, target: Path, log: Path) -> None:
    """Run a program of llama.cpp's, in Python or not; what it says goes to the log."""
    from fine_tuning.disk.resources import python_path

    program = words[0]
    command = words if program == str(tools.quantizer) else [sys.executable, *words]
    paths = [str(tools.source / "gguf-py"), python_path(os.environ.get("PYTHONPATH"))]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        before = output.tell()
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            check=False,
        )
    if done.returncode == 0 and target.is_file():
        return
    with log.open("rb") as output:
        output.seek(before)
        said = output.read().decode("utf-8", "replace")
    raise _explained(said, target, log)


def _explained(said: str, target: Path, log: Path) -> FineTuningError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    what = f"llama.cpp did not write {target.name}."
    for words, why, fix in KNOWN:
        line = next((line for line in lines if words in line), None)
        if line is not None:
            return EngineError(what, why=f"{why} ({line[-200:]})", fix=fix)
    last = lines[-1][-300:] if lines else "it said nothing"
    return EngineError(what, why=last, fix=f"its whole output is in {log}")


def compare_tokens(file: Path, facts: TokenizerFacts, log: Path) -> None:
    """Open the file, tokenise the text and conversations, read its chat template. Raises
    EngineError where one is not what the model's own tokenizer made."""
    with serving(file, log, context=CONTEXT) as url:
        held = str(ask(url, "/props").get("chat_template") or "")
        found = ask(url, "/tokenize", {"content": TEXT, "parse_special": True})["tokens"]
        _require_same(f"of a text of {len(TEXT)} letters", facts.texts[0], found)
        if facts.template is not None and held.strip() != facts.template.strip():
            raise EngineError(
                f"{file.name} does not hold the chat template that was trained.",
                why=f"it holds {held[:80]!r} ...",
                fix=SERVE_MERGED,
            )
        for messages, wanted in zip(CHATS, facts.prompts, strict=True):
            if wanted is not None:
                prompt = ask(url, "/apply-template", {"messages": messages})["prompt"]
                asked = {"content": prompt, "add_special": True, "parse_special": True}
                found = ask(url, "/tokenize", asked)["tokens"]
                _require_same(f"of the conversation that ends {messages[-1]}", wanted, found)


def _require_same(what: str, wanted: Sequence[int], found: Sequence[int]) -> None:
    if list(wanted) == list(found):
        return
    pairs = zip(wanted, found, strict=False)
    at = next((at for at, (one, two) in enumerate(pairs) if one != two), len(found))
    raise EngineError(
        f"llama.cpp makes other tokens {what} than the tokenizer that was trained with.",
        why=f"from token {at} on {list(found[at : at + 4])} instead of "
        f"{list(wanted[at : at + 4])}; the model would read what it was never taught",
        fix=f"no GGUF file was kept: {SERVE_MERGED}",
    )
