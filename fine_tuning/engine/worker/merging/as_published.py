"""What a merged model keeps of its base as that was published: the names of its weights,
configuration and tokenizer files.

Transformers 5 writes all of them in a form of its own. Of the tokenizer's, 4 raises; of a
configuration's `rope_parameters` it knows nothing: it takes the default for the base of the rotary
positions and answers nonsense, without a word. Weights of models that take pictures get names that
llama.cpp and vLLM do not look for (`model.language_model.model.layers` of a Gemma 3).
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
# Parts of a weight's name that say where the text model stands in a larger one.
OF_PLACE = ("model", "language_model")
# Of the program that wrote the file; the format of the weights is the base model's.
OF_WRITING = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")


def keep_config(base: str, out: Path, source: Mapping[str, Any]) -> None:
    """Write the configuration as the base model has it, with what the training has changed.

    `source` says where Transformers finds the base model.
    """
    path = out / "config.json"
    before = AutoConfig.from_pretrained(base, **source).to_dict()
    after = AutoConfig.from_pretrained(out, trust_remote_code=source["trust_remote_code"]).to_dict()
    found = cached_file(base, "config.json", **_where(source))
    if found is None or before.get("model_type") != after.get("model_type"):
        return
    known = json.loads(Path(found).read_text(encoding="utf-8"))
    text = json.dumps(_with_changes(known, before, after), ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _with_changes(
    known: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """The file of the base with each value that differs between the two as they are read."""
    made = dict(known)
    for name in (name for name in {**before, **after} if name not in OF_WRITING):
        old, new = before.get(name), after.get(name)
        if name not in after:
            made.pop(name, None)
        elif old == new and name in before:
            continue
        elif isinstance(old, dict) and isinstance(new, dict) and isinstance(known.get(name), dict):
            made[name] = _with_changes(known[name], old, new)
        else:
            made[name] = new
    return made


def keep_names(base: str, out: Path, source: Mapping[str, Any]) -> None:
    """Give the weights the names that the base model's files have for them, if those are others
    for the same weights; a head that is not in them keeps its own."""
    folder = Path(base)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        files = ["*.safetensors"]
        folder = Path(snapshot_download(base, allow_patterns=files, **_where(source)))
    known = {_without_place(name): name for name in _names(folder)}
    found = {_without_place(name): name for name in _names(out)}
    others = {it for it in found.keys() - known.keys() if it != "lm_head.weight"}
    renamed = {found[it]: known[it] for it in found.keys() & known.keys() if found[it] != known[it]}
    if others or not renamed:
        return
    for file in out.glob("*.safetensors"):
        weights = {renamed.get(name, name): weight for name, weight in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    index = out / "model.safetensors.index.json"
    if index.is_file():
        listed = json.loads(index.read_text(encoding="utf-8"))
        placed = listed["weight_map"].items()
        listed["weight_map"] = {renamed.get(name, name): file for name, file in placed}
        index.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")


def _names(folder: Path) -> Iterator[str]:
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            yield from weights.keys()


def _without_place(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in OF_PLACE)


def keep_tokenizer_files(base: str, out: Path, vocabulary: int, source: Mapping[str, Any]) -> None:
    """Put back the base model's tokenizer files, if the vocabulary is unchanged."""
    if len(AutoTokenizer.from_pretrained(base, **source)) != vocabulary:
        return
    folder = Path(base)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        names = list(TOKENIZER_FILES)
        folder = Path(snapshot_download(base, allow_patterns=names, **_where(source)))
    found = [name for name in TOKENIZER_FILES if (folder / name).exists()]
    if not found:
        return
    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
    for name in found:
        shutil.copy(folder / name, out / name)


def _where(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: source[name] for name in ("revision", "cache_dir") if name in source}
