"""Which base model an adapter was trained on, by what that holds: `trained_on.json` beside it.

A name says little: a hub's branch moves, a directory is filled anew, and an adapter is merged into
another model that fits as well, without a word.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.disk import files, hashes
from fine_tuning.errors import ModelError
from fine_tuning.units import counted

TRAINED_ON = "trained_on.json"
# Of the program that wrote the file, or of no consequence for what the model computes.
OF_WRITING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
SAMPLE = 256  # bytes of each weight, at its begin, middle and end
COPY = "copy the adapter again from where it was trained"


def fingerprint(base: Path) -> str | None:
    """A hash of the configuration, and of name, shape and a sample of every weight; however they
    are cut into files. None for a model that is not there, or not in safetensors."""
    digest = hashlib.sha256()
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        known = {name: value for name, value in config.items() if name not in OF_WRITING}
        digest.update(json.dumps(known, sort_keys=True).encode())
        weights = sorted(item for file in base.glob("*.safetensors") for item in _samples(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for name, described, sample in weights:
        digest.update(f"{name} {described}".encode() + sample)
    return digest.hexdigest() if weights else None


def _samples(file: Path) -> Iterator[tuple[str, str, bytes]]:
    """Each weight: its name, format and shape, and some of its bytes (safetensors' README)."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header: Mapping[str, Any] = json.loads(opened.read(length))
        for name, it in header.items():
            if name == "__metadata__":
                continue
            start, end = it["data_offsets"]
            sample = b""
            for place in (start, (start + end) // 2, max(start, end - SAMPLE)):
                opened.seek(8 + length + place)
                sample += opened.read(min(SAMPLE, end - place))
            yield name, f"{it['dtype']} {it['shape']}", sample


def note_base(adapter: Path, name: str, base: Path, before: Sequence[Path]) -> None:
    """Write beside a new adapter what it stands upon: the base and adapters merged into it."""
    known = {
        "base_model": Path(name).name if Path(name).is_absolute() else name,
        "fingerprint": fingerprint(base),
        "adapters": [_hash(path) for path in before],
    }
    text = json.dumps(known, indent=1) + "\n"
    files.write_text(adapter / TRAINED_ON, text, durable=True)


def require_trained_on(
    adapter: Path, base: Path, before: Sequence[Path] | None = None, *, alone: bool = False
) -> None:
    """Raise ModelError if the adapter says that it was trained on another base model, or upon other
    adapters than `before` (None: they are not looked at; `alone`: nobody could name any)."""
    known = files.read_json(adapter / TRAINED_ON, COPY)
    found = fingerprint(base) if known.get("fingerprint") else None
    if found is not None and found != known["fingerprint"]:
        raise ModelError(
            f"{adapter} was not trained on {base}: the weights or the configuration are others.",
            why=f"its base model was {known.get('base_model')}, as it was then",
            fix="give that one with --model_name_or_path (of a hub, the revision of that time: "
            f"--model_revision); to do it all the same, delete {adapter / TRAINED_ON}",
        )
    wanted = known.get("adapters")
    if before is None or wanted is None or wanted == [_hash(path) for path in before]:
        return
    if alone:
        raise ModelError(
            f"{adapter} was trained upon {counted(len(wanted), 'other adapter')}, which the base "
            "model does not have.",
            fix="merge them in the order in which they were trained (`export "
            "--adapter_name_or_path FIRST NEXT --export_dir DIR`), and load what that makes",
        )
    raise ModelError(
        f"{adapter} was trained upon {counted(len(wanted), 'adapter')}, and is merged upon "
        f"{len(before)}: they are missing, or others.",
        fix="name all, in the order in which they were trained: --adapter_name_or_path FIRST NEXT",
    )


def _hash(adapter: Path) -> str | None:
    file = adapter / "adapter_model.safetensors"
    return hashes.of(file) if file.is_file() else None
