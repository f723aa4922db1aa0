"""Gets llama.cpp's converters and its quantiser, at versions that are pinned by their hashes."""

import base64
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.ship.llama_cpp.place import CONVERTER, LORA_CONVERTER, find, home

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
NEEDED = (CONVERTER, LORA_CONVERTER, "conversion", "gguf-py", "LICENSE")
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Library:
    """A package of npm with llama.cpp's library for one system; `integrity` as npm writes it."""

    name: str
    integrity: str


LIBRARIES: Mapping[tuple[str, str], Library] = {
    ("linux", "x86_64"): Library(
        "@node-llama-cpp/linux-x64@3.22.1",
        "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
    ),
    ("linux", "aarch64"): Library(
        "@node-llama-cpp/linux-arm64@3.22.1",
        "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
    ),
}
BY_HAND = "put llama.cpp's llama-quantize on the PATH for the other types"


class Unavailable(Exception):
    """A part cannot be had here; the text says why."""


def get_converter(target: Path, log: Path) -> None:
    """Write the converters into `target`, which has them all or none. Raises Unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
        options = ("--no-deps", "--no-binary", PACKAGE, "--require-hashes", "-r", str(wanted))
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
        _logged((*pip, *options, "--dest", folder), log)
        archive = next(Path(folder).glob("*.tar.gz"), None)
        if archive is None:
            raise Unavailable(f"{PACKAGE} {VERSION} cannot be downloaded (log: {log})")
        made = Path(folder, "made")
        with tarfile.open(archive) as packed:
            packed.extractall(made, [it for it in packed if _is_needed(it.name)], filter="data")
        [source] = made.glob("*/vendor/llama.cpp")
        _place(source, target, NEEDED)


def _is_needed(name: str) -> bool:
    parts = name.split("/")
    return parts[1:3] == ["vendor", "llama.cpp"] and len(parts) > 3 and parts[3] in NEEDED


def get_quantizer(target: Path, log: Path) -> None:
    """Write llama.cpp's libraries into `target`/quantizer. Raises Unavailable."""
    library = LIBRARIES.get((sys.platform, platform.machine()))
    if library is None:
        raise Unavailable(f"no library is known for {sys.platform} on {platform.machine()}")
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm (of Node.js), which fetches it, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        _logged((npm, "pack", library.name, "--pack-destination", folder), log)
        archive = next(Path(folder).glob("*.tgz"), None)
        if archive is None:
            raise Unavailable(f"{library.name} cannot be downloaded (log: {log})")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != library.integrity:
            raise Unavailable(f"{library.name} is not the file that was tested: its hash differs")
        made = Path(folder, "made")
        with tarfile.open(archive) as packed:
            packed.extractall(made, filter="data")
        [found] = made.glob("package/bins/*")
        shutil.copy(made / "package" / "LICENSE", found)
        found.rename(made / "quantizer")
        _place(made, target, ("quantizer",))


def _place(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy to the target's disk first: a part takes its name in one step."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as beside:
        for name in names:
            part = Path(beside, name)
            shutil.move(source / name, part)
            shutil.rmtree(target / name, ignore_errors=True)
            part.replace(target / name)


def _logged(command: Sequence[str], log: Path) -> None:
    """Run it, with its output in the log; whether it succeeded shows in the files that it left."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            output.write(f"{error}\n".encode())


def main(words: Sequence[str]) -> int:
    """Get what is not there yet; the exit code says whether there is a converter."""
    target = home()
    log = target / "set-up.log"
    tried = log.exists()
    has_converter = all((target / name).exists() for name in NEEDED)
    has_quantizer = (target / "quantizer").is_dir()
    if "--once" in words and (tried or (has_converter and has_quantizer)):
        return 0
    log.unlink(missing_ok=True)
    try:
        if not has_converter:
            print("Getting llama.cpp's converter (76 MB, about two minutes) ...", flush=True)
            get_converter(target, log)
    except Unavailable as error:
        print(f"llama.cpp's converter cannot be had here: {error}.")
        return 1
    try:
        if not has_quantizer:
            print("Getting llama.cpp's quantiser (11 MB) ...", flush=True)
            get_quantizer(target, log)
    except Unavailable as error:
        print(f"f32, f16, bf16 and q8_0 can be written; {BY_HAND}: {error}.")
    print(f"llama.cpp is set up in {find(target, quantizer=False).source}.")
    return 0
