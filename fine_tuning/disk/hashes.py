"""What files held when they were written: `hashes.json` beside them, and what has changed since.

A checkpoint, adapter, split or merged model that lost or changed a bit loads without a word in most
cases, and another model is trained further or served.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from fine_tuning.disk import files
from fine_tuning.errors import DataError

HASHES = "hashes.json"
# Files of a trained model, adapter or whole, in a folder that holds other things too.
OF_A_MODEL = (
    "adapter_config.json",
    "adapter_model.*",
    "config.json",
    "model*.safetensors*",
    "pytorch_model*",
    "value_head.*",
)
Algorithm = Literal["sha256", "xxh3_128"]  # rows are many, and nobody gains by forging one's own
_BLOCK = 1 << 20
_SAMPLES = 64  # blocks of a large file that are looked at
_OF_BASE = (".json", ".jinja", ".txt", ".model", ".safetensors", ".bin")


def of(path: Path, algorithm: Algorithm = "sha256") -> str:
    """The hash of a file's content, in hexadecimal digits."""
    digest = _digest(algorithm)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return str(digest.hexdigest())


def _digest(algorithm: str) -> Any:
    if algorithm == "sha256":
        return hashlib.sha256()
    import xxhash  # which only those need who have prepared rows

    return xxhash.xxh3_128()


def of_files(
    folder: Path, patterns: Iterable[str] = ("**/*",), algorithm: Algorithm = "sha256"
) -> dict[str, str]:
    """The hashes of the folder's files by their names in it; links and `hashes.json` left out."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return {
        path.relative_to(folder).as_posix(): of(path, algorithm)
        for path in sorted(found)
        if path.is_file() and not path.is_symlink() and path.name != HASHES
    }


def of_base_model(folder: Path) -> dict[str, str]:
    """What tells this model from another one: of each file of its own the hash, of a large one that
    of its size, its ends and places between. A changed bit may be missed, other weights are not."""
    import xxhash

    found = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix not in _OF_BASE or path.name == HASHES:
            continue
        size, digest = path.stat().st_size, xxhash.xxh3_128()
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for place in range(0, size, max(_BLOCK, size // _SAMPLES)):
                file.seek(place)
                digest.update(file.read(_BLOCK))
            file.seek(max(0, size - _BLOCK))
            digest.update(file.read(_BLOCK))
        found[path.name] = str(digest.hexdigest())
    return found


def write(
    folder: Path, patterns: Iterable[str] = ("**/*",), algorithm: Algorithm = "sha256"
) -> None:
    """Note what the folder's files hold; right after they were written they need not be read from
    the disk."""
    known = {"algorithm": algorithm, "files": of_files(folder, patterns, algorithm)}
    files.write_text(folder / HASHES, json.dumps(known, indent=1) + "\n", durable=True)


def known(folder: Path) -> Mapping[str, str]:
    """The hashes that were noted in the folder, by the names of the files; empty if none were."""
    try:
        return dict(json.loads((folder / HASHES).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def note(folder: Path, name: str) -> None:
    """Note one more file, written since, or that it has gone; if the folder's files are known."""
    known = files.read_json(folder / HASHES, f"delete {folder / HASHES}")
    if not known:
        return
    found = {key: value for key, value in known["files"].items() if key != name}
    if (folder / name).is_file():
        found[name] = of(folder / name, known["algorithm"])
    text = json.dumps({**known, "files": found}, indent=1) + "\n"
    files.write_text(folder / HASHES, text, durable=True)


def changed(folder: Path) -> list[str]:
    """The files that are not what was written, and what is wrong; none if nothing is known."""
    path = folder / HASHES
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        algorithm, hashes = known["algorithm"], dict(known["files"])
        if algorithm not in ("sha256", "xxh3_128"):
            raise ValueError(algorithm)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{HASHES} cannot be read"]
    return differing(folder, hashes, algorithm)


def differing(
    folder: Path, hashes: Mapping[str, str], algorithm: Algorithm = "sha256"
) -> list[str]:
    """The files whose content has not these hashes, each with what is wrong."""
    found = []
    for name, wanted in hashes.items():
        try:
            same = of(folder / name, algorithm) == wanted
        except OSError as error:
            found.append(f"{name} cannot be read ({error.strerror})")
        else:
            found += [] if same else [f"{name} has changed since it was written"]
    return found


def require_unchanged(folder: Path, fix: str, *, hashes: Mapping[str, str] | None = None) -> None:
    """Raise DataError, with `fix`, if a file is not what was written; it is never used.

    `hashes` are those of a record; else the folder's own are taken.
    """
    wrong = changed(folder) if hashes is None else differing(folder, hashes)
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{folder}: {wrong[0]}{more}.",
            why="it was damaged, or somebody edited it; it is not used",
            fix=fix,
        )


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, or nothing.

    Without hashes (it was saved by another program, or its process was killed in that moment) the
    files are asked themselves: torch's archives hold checksums, safetensors say their length.
    """
    if (folder / HASHES).exists():
        return next(iter(changed(folder)), "")
    for path in sorted(folder.rglob("*")):
        whole = _WHOLE.get(path.suffix)
        if whole is not None and path.is_file() and not whole(path):
            return f"{path.relative_to(folder)} is damaged"
    return ""


def _is_whole_archive(path: Path) -> bool:
    """Whether a file of `torch.save` has all its records; older ones are no archives."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\x80\x02":  # a pickle, as torch wrote before 1.6
                return True
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, ValueError, EOFError):
        return False


def _is_whole_safetensors(path: Path) -> bool:
    """Eight bytes with the length of a JSON header, the header, and the tensors that it lists."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                return False
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for key, tensor in header.items() if key[:2] != "__"]
        return bool(size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


_WHOLE: Mapping[str, Callable[[Path], bool]] = {
    ".pt": _is_whole_archive,
    ".pth": _is_whole_archive,
    ".bin": _is_whole_archive,
    ".safetensors": _is_whole_safetensors,
}
